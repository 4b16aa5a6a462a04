"""The CPU time and memory that a container may use, from Linux control groups of versions 1 and 2."""

from collections.abc import Iterator
from pathlib import Path
from typing import Final

MOUNT: Final = Path("/sys/fs/cgroup")
OWN: Final = Path("/proc/self/cgroup")


def cpu_quota(mount: Path = MOUNT, own: Path = OWN) -> float | None:
    """CPU time that this process may use, in cores; None for no limit.

    Args:
        mount: where control groups are mounted.
        own: the file that names this process's groups.
    """
    quotas = []
    for group in _groups("cpu", mount, own):
        quota, period = _numbers(group / "cpu.max", 2)  # version 2: "100000 100000", or "max 100000"
        if quota is None:
            (quota,), (period,) = _numbers(group / "cpu.cfs_quota_us", 1), _numbers(group / "cpu.cfs_period_us", 1)
        if quota and period and quota > 0:  # -1 in version 1 means no limit
            quotas.append(quota / period)
    return min(quotas, default=None)


def memory_limit(mount: Path = MOUNT, own: Path = OWN) -> int | None:
    """Bytes of memory that this process may use; None for no limit.

    Args:
        mount: where control groups are mounted.
        own: the file that names this process's groups.
    """
    names = ("memory.max", "memory.limit_in_bytes")
    groups = _groups("memory", mount, own)
    limits = [limit for group in groups for name in names if (limit := _numbers(group / name, 1)[0])]
    return min(limits, default=None)


def _groups(controller: str, mount: Path, own: Path) -> Iterator[Path]:
    """The folders of this process's groups and of all groups around them up to the mount: every limit counts.

    A line of `own` is ID:CONTROLLERS:PATH; in version 2 one line has no controllers. Inside a container the path may be
    a path of the host that does not exist here. Then the mount itself is the container's group.
    """
    try:
        lines = own.read_text().splitlines()
    except OSError:
        return
    for line in lines:
        _, controllers, path = line.split(":", 2)
        if not controllers:
            roots = [mount, mount / "unified"]
        elif controller in controllers.split(","):
            roots = [mount / controller, mount / controllers]
        else:
            continue
        for root in roots:
            group = root / path.lstrip("/")
            yield from (group, *(parent for parent in group.parents if parent.is_relative_to(root)))


def _numbers(file: Path, count: int) -> list[int | None]:
    """The first `count` numbers of a file; None for a word such as `max` and for a missing number."""
    try:
        words = file.read_text().split()
    except OSError:
        words = []
    numbers = [int(word) if word.lstrip("-").isdecimal() else None for word in words[:count]]
    return numbers + [None] * (count - len(numbers))

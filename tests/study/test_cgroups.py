from pathlib import Path

import pytest

from study import workers
from study.cgroups import cpu_quota, memory_limit
from study.spec import StudyError

GIB = 2**30


def machine(root: Path, own: str, files: dict[str, str]) -> dict[str, Path]:
    """A tree of control groups, and the file that names this process's own."""
    for name, content in files.items():
        (root / "mount" / name).parent.mkdir(parents=True, exist_ok=True)
        (root / "mount" / name).write_text(content + "\n")
    (root / "own").write_text(own + "\n")
    return {"mount": root / "mount", "own": root / "own"}


CASES = {
    "no container": ("0::/user.slice", {"cgroup.procs": "1"}, None, None),
    "version 2, docker": ("0::/", {"cpu.max": "100000 100000", "memory.max": "2621440000"}, 1.0, 2621440000),
    "version 2, no limits": ("0::/", {"cpu.max": "max 100000", "memory.max": "max"}, None, None),
    "the limits around a group count": (
        "0::/kubepods/pod7/c1",
        {
            "kubepods/pod7/c1/cpu.max": "max 100000",
            "kubepods/pod7/c1/memory.max": str(4 * GIB),
            "kubepods/pod7/cpu.max": "150000 100000",
            "kubepods/pod7/memory.max": str(3 * GIB),
            "kubepods/cpu.max": "800000 100000",
            "kubepods/memory.max": "max",
        },
        1.5,
        3 * GIB,
    ),
    "the host's path, the container's mount": ("0::/docker/abc", {"cpu.max": "50000 100000"}, 0.5, None),
    "version 1": (
        "12:memory:/docker/abc\n4:cpu,cpuacct:/docker/abc\n1:name=systemd:/docker/abc",
        {
            "memory/docker/abc/memory.limit_in_bytes": str(2 * GIB),
            "memory/memory.limit_in_bytes": "9223372036854771712",
            "cpu,cpuacct/docker/abc/cpu.cfs_quota_us": "250000",
            "cpu,cpuacct/docker/abc/cpu.cfs_period_us": "100000",
        },
        2.5,
        2 * GIB,
    ),
    "version 1, no quota": (
        "4:cpu,cpuacct:/",
        {"cpu/cpu.cfs_quota_us": "-1", "cpu/cpu.cfs_period_us": "100000"},
        None,
        None,
    ),
    "damaged": ("0::/", {"cpu.max": "", "memory.max": "much"}, None, None),
}


@pytest.mark.parametrize("case", CASES)
def test_limits_are_those_of_the_control_groups(tmp_path: Path, case: str) -> None:
    own, files, quota, limit = CASES[case]
    where = machine(tmp_path, own, files)
    assert cpu_quota(**where) == quota
    assert memory_limit(**where) == limit


def test_where_there_are_no_control_groups_nothing_is_limited(tmp_path: Path) -> None:
    assert cpu_quota(tmp_path, tmp_path / "own") is None
    assert memory_limit(tmp_path, tmp_path / "own") is None


@pytest.mark.parametrize(("quota", "cores"), [(None, 4), (0.5, 1), (1.0, 1), (2.7, 2), (64.0, 4)])
def test_workers_are_the_smaller_of_what_is_there_and_what_is_allowed(
    monkeypatch: pytest.MonkeyPatch, quota: float | None, cores: int
) -> None:
    monkeypatch.setattr(workers.os, "sched_getaffinity", lambda _: {0, 1, 2, 3}, raising=False)
    monkeypatch.setattr(workers, "cpu_quota", lambda: quota)
    monkeypatch.setattr(workers, "memory_limit", lambda: GIB // 2)
    found = workers.this_machine(gpus=0)
    assert (found.count, found.cores, found.memory) == (cores, cores, GIB // 2 // cores)


@pytest.mark.parametrize(
    ("packs_per_gpu", "gpus", "message"),
    [
        (1, 1, "gpus=1: this machine has 0 that PyTorch can use"),
        (2, None, "packs_per_gpu=2: this machine trains on its CPU cores, so there is no GPU to share"),
        (2, 0, "packs_per_gpu=2: this machine trains on its CPU cores"),
    ],
)
def test_gpus_that_are_not_there_are_refused(
    monkeypatch: pytest.MonkeyPatch, packs_per_gpu: int, gpus: int | None, message: str
) -> None:
    monkeypatch.setattr(workers.torch.cuda, "is_available", lambda: False)
    with pytest.raises(StudyError, match=message):
        workers.this_machine(packs_per_gpu, gpus)

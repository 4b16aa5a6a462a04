"""Ray, started on this machine or found at an address: in seconds, or refused in a line.

With tune.py the only file that imports Ray.
"""

import contextlib
import logging
import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

from psp_core.messages import one_line
from study.addresses import reach, split
from study.quiet import ENVIRONMENT
from study.scratch import LONGEST, PACKAGES, scratch
from study.spec import StudyError
from study.stop import SIGNALS, Stop
from study.workers import Workers

os.environ |= ENVIRONMENT

import psutil  # Ray brings it
import ray
from ray._private.services import canonicalize_bootstrap_address
from ray._raylet import GcsClient  # type: ignore[attr-defined]

setattr(ray._private.worker, "print_to_stdstream", lambda *data, **options: None)  # noqa: B010 - pages of state dumps

CLUSTER_REMEDY: Final = (
    "Start one, with the versions of Ray and Python that are here, or leave --address out. "
    "A cluster with token authentication needs RAY_AUTH_MODE=token and its token here too."
)
QUIET: Final[dict[str, Any]] = {"log_to_driver": False, "logging_level": logging.CRITICAL}


@contextlib.contextmanager
def own_folder() -> Iterator[Path]:
    """A folder for what Ray keeps.

    Raises:
        StudyError: it cannot be made.
    """
    with contextlib.ExitStack() as running:
        try:
            folder = running.enter_context(scratch())
        except OSError as error:
            raise StudyError(
                f"Ray's files need a folder: {one_line(error)}. Set TMPDIR to one that can be written, of at most "
                f"{LONGEST} characters."
            ) from None
        yield folder


@contextlib.contextmanager
def ray_here(folder: Path, workers: Workers, stop: Stop) -> Iterator[None]:
    """Ray on this machine, with its files in a folder of its own: another user's /tmp/ray is in nobody's way.

    Raises:
        StudyError: Ray does not start.
    """
    try:
        with _shielded(), _starting(folder, stop, "Ray does not start on this machine", "Its own words may help."):
            ray.init(
                address="local",
                num_cpus=workers.cores,
                num_gpus=workers.count // workers.packs_per_gpu if workers.device == "cuda" else 0,
                include_dashboard=False,
                _temp_dir=str(folder),
                **QUIET,
            )
        yield
    finally:
        end_processes(orderly=True)


@contextlib.contextmanager
def ray_at(address: str, folder: Path, stop: Stop) -> Iterator[None]:
    """A cluster that is there.

    Raises:
        StudyError: none answers.
    """
    known = os.environ.get("RAY_ADDRESS") if address == "auto" else None
    what = f"address={address!r}" + (f" (RAY_ADDRESS={known!r})" if known else "")
    try:
        with _starting(folder, stop, f"{what}: no Ray cluster answers there", CLUSTER_REMEDY):
            found = known or (canonicalize_bootstrap_address(address) or "" if address == "auto" else address)
            reach(*split(found))
            _greet(found)
            ray.init(address=found, **QUIET)
        yield
    finally:
        ray.shutdown()


@contextlib.contextmanager
def _starting(folder: Path, stop: Stop, trouble: str, remedy: str) -> Iterator[None]:
    """Where Ray starts: in a folder where workers then look for modules first; one line where it does not."""
    try:
        with contextlib.chdir(folder / PACKAGES):
            yield
    except SystemExit:  # Ray's own answer to SIGTERM while it starts: another thread may have taken the signal
        stop.received(signal.SIGTERM)
    except Exception as error:
        raise StudyError(f"{trouble} ({one_line(error)[:500]}). {remedy}") from None
    finally:
        stop.listen()  # Ray has put its own handlers there


def needed() -> dict[str, tuple[str, int]]:
    """The processes without which this driver can do nothing, by name, and where they listen."""
    context = ray.get_runtime_context()
    (here,) = (node for node in ray.nodes() if node["NodeID"] == context.get_node_id())  # type: ignore[no-untyped-call]
    control = str(context.gcs_address)
    return {
        f"Ray's control process (GCS, {control})": split(control),
        f"Ray's process on this machine (raylet, {here['NodeManagerAddress']})": (
            here["NodeManagerAddress"],
            here["NodeManagerPort"],
        ),
    }


def _greet(address: str) -> None:
    """Make sure that what answers is a head, not another process of Ray: `ray.init` itself would try for minutes."""
    try:
        GcsClient(address=address)
    except Exception as error:
        raise ConnectionError(f"what answers there is no Ray head, or wants another token: {error}") from None


def end_processes(*, orderly: bool) -> None:
    """End all that Ray has started here, if it has: none of it hears a request to end, see `_shielded`.

    Args:
        orderly: whether this process is to leave Ray first, which takes for ever where parts of it are dead.
    """
    node = getattr(ray._private.worker, "_global_node", None)
    roots = [started.process for kind in getattr(node, "all_processes", {}).values() for started in kind]
    family = []
    for root in roots:
        root.terminate = root.kill  # Ray would wait a second for each in turn
        with contextlib.suppress(psutil.Error):
            family += [psutil.Process(root.pid), *psutil.Process(root.pid).children(recursive=True)]
    if orderly:
        ray.shutdown()
    for process in family:
        with contextlib.suppress(psutil.Error):
            process.kill()


@contextlib.contextmanager
def _shielded() -> Iterator[None]:
    """Processes that are started here do not hear what is sent to all of a run's.

    The driver hears it and stops them in order. What comes meanwhile waits; Ctrl-C does not, Ray sees to that.
    """
    before = signal.pthread_sigmask(signal.SIG_BLOCK, set(SIGNALS) - {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)

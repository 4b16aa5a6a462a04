"""Starts Ray on this machine, or connects to a cluster: within seconds, or with an error of one line.

This file and tune.py are the only ones that import Ray.
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
    """A folder for Ray's own files.

    Raises:
        StudyError: the folder cannot be made.
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
    """Ray on this machine, with its files in `folder`, so that another user's /tmp/ray does not matter.

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
    """A connection to a running cluster.

    Raises:
        StudyError: no cluster answers.
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
    """Start Ray in the folder where workers look for modules first; a failure becomes an error of one line."""
    try:
        with contextlib.chdir(folder / PACKAGES):
            yield
    except SystemExit:  # Ray's answer to SIGTERM during its start, whichever thread took the signal
        stop.received(signal.SIGTERM)
    except Exception as error:
        raise StudyError(f"{trouble} ({one_line(error)[:500]}). {remedy}") from None
    finally:
        stop.listen()  # Ray has installed its own handlers


def needed() -> dict[str, tuple[str, int]]:
    """Host and port of the processes of Ray that this driver needs, by name."""
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
    """Check that a head answers, not another process of Ray: `ray.init` itself would try for minutes."""
    try:
        GcsClient(address=address)
    except Exception as error:
        raise ConnectionError(f"what answers there is no Ray head, or wants another token: {error}") from None


def end_processes(*, orderly: bool) -> None:
    """Kill the processes that Ray has started here. They block the signals that ask them to end, see `_shielded`.

    Args:
        orderly: whether to leave Ray first; this never returns where parts of Ray are dead.
    """
    node = getattr(ray._private.worker, "_global_node", None)
    roots = [started.process for kind in getattr(node, "all_processes", {}).values() for started in kind]
    family = []
    for root in roots:
        root.terminate = root.kill  # Ray would wait a second for each process in turn
        with contextlib.suppress(psutil.Error):
            family += [psutil.Process(root.pid), *psutil.Process(root.pid).children(recursive=True)]
    if orderly:
        ray.shutdown()
    for process in family:
        with contextlib.suppress(psutil.Error):
            process.kill()


@contextlib.contextmanager
def _shielded() -> Iterator[None]:
    """Start processes that block the signals sent to all processes of a run.

    The driver receives these signals and stops its processes in order. A signal that arrives meanwhile waits. Ctrl-C is
    not blocked here: Ray shields its processes from it.
    """
    before = signal.pthread_sigmask(signal.SIG_BLOCK, set(SIGNALS) - {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)

"""Ray Tune: runs packs on this machine or on a cluster. The only file that imports Ray.

A Tune trial is a pack. Its worker process is reused for the next pack, so that importing torch is
paid for once, and it puts the pack's results straight into the trial store: nothing of Tune's own
files is kept.
"""

import contextlib
import logging
import os
import socket
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from psp_core.messages import one_line
from study.progress import Display
from study.worker import Job, PackRun, record_failure

# Read by Ray when it is imported: no output, files or signal handlers of its own.
os.environ |= {
    "RAY_AIR_NEW_OUTPUT": "0",
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
    "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1",
    "TUNE_DISABLE_SIGINT_HANDLER": "1",
    "TUNE_PRINT_ALL_TRIAL_ERRORS": "0",
    "TUNE_WARN_EXCESSIVE_EXPERIMENT_CHECKPOINT_SYNC_THRESHOLD_S": "0",
}

import ray
import torch
from ray import tune
from ray.tune.experiment import Trial

CPUS_PER_PACK = 1  # two workers with two threads each on two cores run ten times slower, not the same
MAX_RESTARTS = 2  # of a pack whose worker process died


class PackTrainable(tune.Trainable):
    """A pack as Tune sees it: one `train` call for each task."""

    def setup(self, config: dict[str, Any], jobs: Mapping[str, Job]) -> None:  # type: ignore[override]
        """Take the first pack; `jobs` are all packs of the run by id, put once on each node."""
        self.jobs = jobs
        torch.set_num_threads(CPUS_PER_PACK)
        self.reset_config(config)

    def reset_config(self, new_config: dict[str, Any]) -> bool:
        """Take the next pack in the same process."""
        self.run = PackRun(self.jobs[new_config["pack"]], "cuda" if ray.get_gpu_ids() else "cpu")
        return True

    def step(self) -> dict[str, Any]:
        """Train one task."""
        return self.run.step()


class _Reporter(tune.Callback):
    """Passes Tune's events on to the display; stores a pack's failure where its worker could not."""

    def __init__(self, jobs: Mapping[str, Job], display: Display) -> None:
        self.jobs = jobs
        self.display = display

    def __getstate__(self) -> dict[str, object]:
        """Nothing: the tuner pickles its callbacks for a restore that is never made."""
        return {}

    def on_trial_start(self, iteration: int, trials: list[Trial], trial: Trial, **info: object) -> None:
        self.display.started(self._job(trial).pack)

    def on_trial_result(
        self, iteration: int, trials: list[Trial], trial: Trial, result: dict[str, Any], **info: object
    ) -> None:
        self.display.progressed(self._job(trial).pack, result)

    def on_trial_error(self, iteration: int, trials: list[Trial], trial: Trial, **info: object) -> None:
        job = self._job(trial)
        if (trial.last_result or {}).get("done"):
            return  # it died after its work was stored
        record_failure(job, f"Ray gave up on it after {trial.num_failures} attempts: {one_line(trial.get_error())}")
        self.display.lost(job.pack)

    def _job(self, trial: Trial) -> Job:
        return self.jobs[_pack_id(trial)]


def run_jobs(jobs: Sequence[Job], display: Display, *, address: str | None) -> None:
    """Run every job; returns when all are in the store, as done or as failed.

    Args:
        jobs: in the order in which they should start.
        display: told of every event.
        address: a running Ray cluster, or None to start Ray on this machine only.

    Raises:
        KeyboardInterrupt: the user stopped it; workers are stopped, the store is whole.
        ConnectionError: no cluster answers at `address`.
    """
    with _ray(address), tempfile.TemporaryDirectory(prefix="psp-tune-") as scratch:
        num_gpus = min(1, ray.cluster_resources().get("GPU", 0))  # type: ignore[no-untyped-call]
        by_id = {job.pack.id: job for job in jobs}
        trainable = tune.with_parameters(PackTrainable, jobs=by_id)
        tuner = tune.Tuner(
            tune.with_resources(trainable, {"cpu": CPUS_PER_PACK, "gpu": num_gpus}),
            param_space={"pack": tune.grid_search(list(by_id))},
            tune_config=tune.TuneConfig(
                reuse_actors=True,
                trial_name_creator=_pack_id,
                trial_dirname_creator=_pack_id,
            ),
            run_config=tune.RunConfig(
                storage_path=scratch,
                callbacks=[_Reporter(by_id, display)],
                checkpoint_config=tune.CheckpointConfig(checkpoint_at_end=False),
                failure_config=tune.FailureConfig(max_failures=MAX_RESTARTS),
                verbose=0,
            ),
        )
        tuner.fit()


@contextlib.contextmanager
def _ray(address: str | None) -> Iterator[None]:
    if address is None:
        ray.init(address="local", include_dashboard=False, log_to_driver=False, logging_level=logging.ERROR)
    else:
        _reach(address)
        ray.init(address=address, log_to_driver=False, logging_level=logging.ERROR)
    try:
        yield
    finally:
        ray.shutdown()


def _reach(address: str) -> None:
    """Ray tries an address for ten minutes or more; nobody there should be known in seconds."""
    host, _, port = address.rpartition("/")[2].rpartition(":")
    if not port.isdecimal():
        return  # a name such as 'auto', which Ray resolves at once
    try:
        socket.create_connection((host, int(port)), timeout=10).close()
    except OSError as error:
        raise ConnectionError(str(error)) from None


def _pack_id(trial: Trial) -> str:
    return str(trial.config["pack"])

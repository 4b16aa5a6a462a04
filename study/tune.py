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
import warnings
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from psp_core.datasets import Dataset
from psp_core.messages import one_line
from study.progress import Display
from study.worker import Job, PackRun, record_failure
from study.workers import Limits, Workers, gpu_memory, gpu_workers, this_machine

# Read by Ray when it is imported: no output, files or signal handlers of its own; tensors that are
# put into its store lie there once for each machine, and are read in place.
os.environ |= {
    "RAY_ENABLE_ZERO_COPY_TORCH_TENSORS": "1",
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
from ray.autoscaler.sdk import request_resources
from ray.tune.experiment import Trial
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

SECONDS_FOR_A_GPU = 900  # an autoscaler may have to start a machine first
MAX_RESTARTS = 2  # of a pack whose worker process died


class PackTrainable(tune.Trainable):
    """A pack as Tune sees it: one `train` call for each task."""

    def setup(  # type: ignore[override]
        self, config: dict[str, Any], jobs: Mapping[str, Job], datasets: Mapping[str, Dataset]
    ) -> None:
        """Take the first pack; `jobs` are all packs of the run by id, `datasets` what they need by name."""
        self.jobs = jobs
        self.datasets = datasets
        self.device = torch.device("cuda" if ray.get_gpu_ids() else "cpu")
        self.on_device: dict[str, Dataset] = {}
        assigned = ray.get_runtime_context().get_assigned_resources()  # type: ignore[no-untyped-call]
        torch.set_num_threads(int(assigned["CPU"]))
        if self.device.type == "cuda":  # neighbours on the same GPU keep to their shares
            torch.cuda.set_per_process_memory_fraction(float(assigned["GPU"]))
        self.reset_config(config)

    def reset_config(self, new_config: dict[str, Any]) -> bool:
        """Take the next pack in the same process."""
        job = self.jobs[new_config["pack"]]
        name = job.pack.trials[0].dataset
        if name and name not in self.on_device:
            self.on_device[name] = self.datasets[name].to(self.device)
        self.run = PackRun(job, self.on_device[name] if name else None, self.device.type)
        return True

    def step(self) -> dict[str, Any]:
        """Train one task."""
        return self.run.step()

    def cleanup(self) -> None:
        """Stopped, before or after the end of its pack."""
        self.run.pause()


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
        with contextlib.suppress(OSError):  # the storage is gone: the trial is left without a result
            record_failure(job, f"Ray gave up on it after {trial.num_failures} attempts: {one_line(trial.get_error())}")
        self.display.lost(job.pack)

    def _job(self, trial: Trial) -> Job:
        return self.jobs[_pack_id(trial)]


class Engine:
    """A running Ray; a context manager.

    Args:
        address: a running Ray cluster, or None to start Ray on this machine only.
        packs_per_gpu: how many packs share a GPU; each takes 1/n of it, the only fractions that
            fill a GPU.
        gpus: how many GPUs to plan for: an autoscaler is asked for them; 0 for CPU cores only, None
            for what is there.

    Attributes:
        workers: what it runs packs on, known once it is entered.

    Raises:
        ConnectionError: no cluster answers at `address`.
    """

    workers: Workers

    def __init__(self, address: str | None, packs_per_gpu: int = 1, gpus: int | None = None) -> None:
        """Start nothing yet."""
        self.address = address
        self.packs_per_gpu = packs_per_gpu
        self.gpus = gpus

    def __enter__(self) -> "Engine":
        """Start Ray, or connect to it."""
        with contextlib.ExitStack() as running:
            running.enter_context(_ray(self.address))
            self.workers = (
                _cluster(self.packs_per_gpu, self.gpus) if self.address else this_machine(self.packs_per_gpu, self.gpus)
            )
            self._running = running.pop_all()
        return self

    def __exit__(self, *error: object) -> None:
        """Stop it, or disconnect."""
        self._running.close()

    def nodes_without(self, path: str, content: str) -> list[str]:
        """The addresses of machines that do not see a file with this in it."""
        read = ray.remote(num_cpus=0)(_reads)
        asked = {}
        for node in ray.nodes():  # type: ignore[no-untyped-call]
            if node["Alive"]:
                here = NodeAffinitySchedulingStrategy(node["NodeID"], soft=False)
                asked[read.options(scheduling_strategy=here).remote(path, content)] = node["NodeManagerAddress"]
        return sorted({address for answer, address in asked.items() if not ray.get(answer)})

    def run(self, jobs: Sequence[Job], datasets: Mapping[str, Dataset], display: Display, limits: Limits) -> None:
        """Run every job; returns when all are in the store, as done or as failed, or when time is up.

        Args:
            jobs: in the order in which they should start.
            datasets: by name, whatever they need; put once on each machine.
            display: told of every event.
            limits: of cores, packs and time.

        Raises:
            KeyboardInterrupt: the user stopped it; workers are stopped, the store is whole.
        """
        by_id = {job.pack.id: job for job in jobs}
        with warnings.catch_warnings(action="ignore", category=UserWarning):  # Ray's: read in place, so never write
            trainable = tune.with_parameters(PackTrainable, jobs=by_id, datasets=datasets)
        # Ray counts in ten-thousandths and rounds: six times 0.1667 would be more than a GPU
        gpus = (10_000 // self.workers.packs_per_gpu) / 10_000 if self.workers.device == "cuda" else 0
        with tempfile.TemporaryDirectory(prefix="psp-tune-") as scratch:
            tuner = tune.Tuner(
                tune.with_resources(trainable, {"cpu": limits.threads, "gpu": gpus}),
                param_space={"pack": tune.grid_search(list(by_id))},
                tune_config=tune.TuneConfig(
                    reuse_actors=True,
                    max_concurrent_trials=limits.max_concurrent,
                    time_budget_s=limits.time_budget,
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


def _reads(path: str, content: str) -> bool:
    try:
        return content in Path(path).read_text()
    except OSError:
        return False


def _cluster(packs_per_gpu: int, gpus: int | None) -> Workers:
    """The workers of the cluster that Ray is connected to: its GPUs, else its CPU cores."""
    if gpus:
        request_resources(bundles=[{"GPU": 1.0}] * gpus)  # machines start while the first is waited for
    num_gpus = sum(node.get("GPU", 0) for node in _nodes()) if gpus is None else gpus
    memory = _gpu_memory(num_gpus) if num_gpus else 0
    nodes = [node for node in _nodes() if node.get("CPU") and (not num_gpus or node.get("GPU"))]
    if not nodes:
        raise ConnectionError("it has no machine with a free core; if it starts GPU machines on demand, say --gpus N")
    cores = int(min(node["CPU"] for node in nodes))
    if num_gpus:
        return gpu_workers(num_gpus, memory, cores, packs_per_gpu)
    count = int(sum(node["CPU"] for node in nodes))
    memory = int(min(node["memory"] / node["CPU"] for node in nodes))
    return Workers(device="cpu", count=count, memory=memory, cores=cores)


def _nodes() -> list[dict[str, float]]:
    nodes = ray.nodes()  # type: ignore[no-untyped-call]
    return [node["Resources"] for node in nodes if node["Alive"]]


def _gpu_memory(num_gpus: float) -> int:
    try:
        return int(ray.get(ray.remote(num_gpus=1)(gpu_memory).remote(), timeout=SECONDS_FOR_A_GPU))
    except ray.exceptions.GetTimeoutError:
        raise ConnectionError(f"none of its {num_gpus:g} GPUs was free for {SECONDS_FOR_A_GPU} seconds") from None


@contextlib.contextmanager
def _ray(address: str | None) -> Iterator[None]:
    if address is None:
        ray.init(
            address="local",
            num_cpus=this_machine().cores,
            num_gpus=torch.cuda.device_count(),
            include_dashboard=False,
            log_to_driver=False,
            logging_level=logging.ERROR,
        )
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

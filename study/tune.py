"""Ray Tune: runs packs on this machine or on a cluster.

A Tune trial is a pack. A worker process is reused for the next pack, so torch is imported once. The worker writes the
pack's results straight into the trial store; Tune's own files are not kept.
"""

import contextlib
import os
import sys
import threading
import time
import warnings
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

from psp_core.datasets import Dataset
from psp_core.messages import one_line
from study.addresses import Watch
from study.choices import Choice
from study.connection import end_processes, needed, own_folder, ray_at, ray_here
from study.credentials import accept, credentials
from study.files import Files, StorageError
from study.lease import FILE as LEASE_FILE
from study.progress import Display
from study.quiet import ENVIRONMENT
from study.spec import StudyError
from study.stop import ClusterLost, Stop
from study.usage import usage
from study.worker import Job, PackRun, record_failure
from study.workers import Limits, Workers, among, choices_here, gpu_memory, gpu_name, refuse_shares_of_nothing

os.environ |= ENVIRONMENT

import ray
import torch
from ray import tune
from ray.autoscaler.sdk import request_resources
from ray.tune.experiment import Trial as RayTrial
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

if TYPE_CHECKING:
    from optuna.distributions import BaseDistribution

SECONDS_TO_TRAIN: Final = 1.0  # between two reports, unless one task takes longer
SECONDS_FOR_A_GPU: Final = 900  # an autoscaler may have to start a machine first
SECONDS_TO_LOOK: Final = 90  # for every machine of a cluster to look at the store
SECONDS_TO_END: Final = 15  # after Ray died; then this process ends too
MAX_RESTARTS: Final = 2  # of a pack whose worker process died, since its last progress
LONGEST_CAUSE: Final = 300  # characters


class PackTrainable(tune.Trainable):
    """A pack as Tune sees it: a `train` call trains a task, or as many as fit into `SECONDS_TO_TRAIN`."""

    def setup(  # type: ignore[override]
        self,
        config: dict[str, Any],
        jobs: Mapping[str, Job],
        datasets: Mapping[str, Dataset],
        environment: Mapping[str, str],
    ) -> None:
        """Take the first pack.

        Args:
            config: the pack's id.
            jobs: all jobs of the run by their pack's id.
            datasets: all data sets of the run by name.
            environment: variables that open the store.
        """
        accept(environment)
        self.jobs = jobs
        self.datasets = datasets
        self.device = torch.device("cuda" if ray.get_gpu_ids() else "cpu")
        self.place = " ".join(["GPU", *map(str, ray.get_gpu_ids())]) if ray.get_gpu_ids() else "CPU"
        self.on_device: dict[str, Dataset] = {}
        assigned = ray.get_runtime_context().get_assigned_resources()  # type: ignore[no-untyped-call]
        torch.set_num_threads(int(assigned["CPU"]))
        if self.device.type == "cuda":  # workers on the same GPU keep to their shares
            torch.cuda.set_per_process_memory_fraction(float(assigned["GPU"]))
        self.reset_config(config)

    def reset_config(self, new_config: dict[str, Any]) -> bool:
        """Take the next pack in the same process."""
        job = self.jobs[new_config["pack"]]
        name = job.pack.trials[0].data_name
        if name and name not in self.on_device:
            self.on_device[name] = self.datasets[name].to(self.device)
        self.run = PackRun(job, self.on_device[name] if name else None, self.device.type)
        return True

    def step(self) -> dict[str, Any]:
        """Train for a while, for each report takes Tune milliseconds, which a GPU would wait; or until more is kept."""
        start, kept = time.monotonic(), self.run.kept
        report = self.run.step()
        while not report["done"] and report["kept"] == kept and time.monotonic() - start < SECONDS_TO_TRAIN:
            report = self.run.step()
        return {**report, "place": self.place, "use": usage(self.device)}

    def cleanup(self) -> None:
        """Keep the state of an unfinished pack."""
        self.run.pause()


class _Reporter(tune.Callback):
    """Passes Tune's events on to the display and to `Stop`; stores failures that a dead worker could not store."""

    def __init__(self, jobs: Mapping[str, Job], display: Display, stop: Stop) -> None:
        self.jobs = jobs
        self.display = display
        self.stop = stop
        self.kept = dict.fromkeys(jobs, 0.0)

    def __getstate__(self) -> dict[str, object]:
        """Nothing: the tuner pickles its callbacks for a restore that is never made."""
        return {}

    def on_step_end(self, iteration: int, trials: list[RayTrial], **info: object) -> None:
        self.display.look()  # Tune steps some ten times a second

    def on_trial_start(self, iteration: int, trials: list[RayTrial], trial: RayTrial, **info: object) -> None:
        self.display.started(self._job(trial).pack)

    def on_trial_result(
        self, iteration: int, trials: list[RayTrial], trial: RayTrial, result: dict[str, Any], **info: object
    ) -> None:
        if result["refused"]:
            self.stop.refused = result["refused"]
            return
        self.display.progressed(self._job(trial).pack, result)
        if result["kept"] > self.kept[_pack_id(trial)]:  # a pack that gets on may lose any number of machines
            self.kept[_pack_id(trial)] = result["kept"]
            trial.max_failures = trial.num_failures + MAX_RESTARTS

    def on_trial_error(self, iteration: int, trials: list[RayTrial], trial: RayTrial, **info: object) -> None:
        job = self._job(trial)
        if (trial.last_result or {}).get("done"):
            return  # the worker died after its results were stored
        text = f"{_cause(trial.get_pickled_error())} (Ray gave up on it after {trial.num_failures} attempts)"
        with contextlib.suppress(OSError):  # the storage is gone: the trial stays without a result
            record_failure(job, f"{text}\n{trial.get_error()}")
        self.display.lost(job.pack)

    def _job(self, trial: RayTrial) -> Job:
        return self.jobs[_pack_id(trial)]


class _Ending(tune.Stopper):
    """Asks `Stop` ten times a second whether the run must end."""

    def __init__(self, stop: Stop) -> None:
        self.stop = stop

    def __getstate__(self) -> dict[str, object]:
        """Nothing, as for `_Reporter`."""
        return {}

    def __call__(self, trial_id: str, result: dict[str, Any]) -> bool:
        return False

    def stop_all(self) -> bool:
        return self.stop.due()


class Engine:
    """A running Ray; a context manager.

    Args:
        address: a running Ray cluster, or None to start Ray on this machine only.
        packs_per_gpu: n, where n packs share a GPU; None for the planner's choice. Each takes 1/n of the GPU, the only
            fractions that fill a GPU.
        gpus: how many GPUs to plan for, and to ask an autoscaler for; 0 for CPU cores only, None for all GPUs that
            are there, or the CPU cores.
        stop: says when a run must end.

    Attributes:
        choices: the workers that could run packs, known once the engine is entered; the simplest first.
        workers: those of them that do: the first, unless others are put there before `run`.

    Raises:
        StudyError: Ray does not start, no cluster answers at `address`, or there are fewer GPUs than asked for.
    """

    choices: list[Workers]
    workers: Workers

    def __init__(
        self, address: str | None, packs_per_gpu: int | None = None, gpus: int | None = None, stop: Stop | None = None
    ) -> None:
        """Start nothing yet."""
        self.address = None if address == "local" else address
        self.packs_per_gpu = packs_per_gpu
        self.gpus = gpus
        self.stop = stop or Stop()
        self._over = threading.Event()

    def __enter__(self) -> "Engine":
        """Start Ray, or connect to the cluster."""
        with contextlib.ExitStack() as running:
            self._scratch = running.enter_context(own_folder())
            if self.address is None:
                self.choices = choices_here(self.packs_per_gpu, self.gpus)
                running.enter_context(ray_here(self._scratch, self.choices[0], self.stop))
            else:
                running.enter_context(ray_at(self.address, self._scratch, self.stop))
                self.choices = _cluster(self.packs_per_gpu, self.gpus)
            self.workers = self.choices[0]
            running.enter_context(Watch(needed(), self._lost))
            self._running = running.pop_all()
        return self

    def __exit__(self, *error: object) -> None:
        """Stop Ray, or disconnect from the cluster."""
        self._running.close()
        self._over.set()

    def unreachable(self, store: str, lease: str) -> dict[str, str]:
        """Why the store cannot be read, by the address of each machine that does not see `lease` in the store."""
        look = ray.remote(num_cpus=0)(_looks)
        asked = {}
        for node in ray.nodes():  # type: ignore[no-untyped-call]
            if node["Alive"]:
                here = NodeAffinitySchedulingStrategy(node["NodeID"], soft=False)
                answer = look.options(scheduling_strategy=here).remote(store, lease, credentials())
                asked[node["NodeManagerAddress"]] = answer
        ray.wait(list(asked.values()), num_returns=len(asked), timeout=SECONDS_TO_LOOK)
        answers = {address: _answer(answer) for address, answer in sorted(asked.items())}
        return {address: why for address, why in answers.items() if why}

    def run(self, jobs: Sequence[Job], datasets: Mapping[str, Dataset], display: Display, limits: Limits) -> None:
        """Run every job; return when all results or failures are in the store, or when time is up.

        Args:
            jobs: in the order in which they should start.
            datasets: all data sets of the jobs by name; put once on each machine.
            display: shows every event.
            limits: of cores and packs.

        Raises:
            KeyboardInterrupt: a signal stopped the run; workers are stopped, the store is whole.
            StorageError: the storage takes no more results.
            ClusterLost: a process of Ray that is needed here died.
        """
        by_id = {job.pack.id: job for job in jobs}
        with warnings.catch_warnings(action="ignore", category=UserWarning):  # Ray's: read in place, so never write
            trainable = tune.with_parameters(
                PackTrainable, jobs=by_id, datasets=datasets, environment=credentials() if self.address else {}
            )
        # Ray rounds to ten-thousandths: six times 0.1667 would be more than a GPU
        gpus = (10_000 // self.workers.packs_per_gpu) / 10_000 if self.workers.device == "cuda" else 0
        tuner = tune.Tuner(
            tune.with_resources(trainable, {"cpu": limits.threads, "gpu": gpus}),
            param_space={"pack": tune.grid_search(list(by_id))},
            tune_config=tune.TuneConfig(
                reuse_actors=True,
                max_concurrent_trials=limits.max_concurrent,
                trial_name_creator=_pack_id,
                trial_dirname_creator=_pack_id,
            ),
            run_config=tune.RunConfig(
                storage_path=str(self._scratch / "tune"),
                stop=_Ending(self.stop),
                callbacks=[_Reporter(by_id, display, self.stop)],
                checkpoint_config=tune.CheckpointConfig(checkpoint_at_end=False),
                failure_config=tune.FailureConfig(max_failures=MAX_RESTARTS),
                verbose=0,
            ),
        )
        try:
            with self.stop.polled():
                tuner.fit()
        except ClusterLost:
            if self.stop.signal:  # the signal reached all processes of the run
                raise KeyboardInterrupt from None
            raise
        if self.stop.refused:
            raise StorageError(self.stop.refused)

    def _lost(self, what: str) -> None:
        """End the run, and this process if Ray blocks it; called from the watch's thread."""
        lost = f"{what} died or cannot be reached any more"
        if not self.stop.signal:  # printed at once: Ray may end this process within seconds
            text = f"error: {lost}. Finished trials are kept. Go on with the same command."
            print(text, file=sys.stderr, flush=True)
        self.stop.lost = lost
        if self._over.wait(SECONDS_TO_END):
            return
        end_processes(orderly=False)
        os._exit(1)


class OptunaSearcher:
    """Optuna's tree-structured Parzen estimator, which proposes settings of one cell (`study.tuning.Searcher`).

    The sampler has a seed, so that the same accuracies lead to the same proposals. Proposals of one round take each
    other into account by Optuna's constant liar. Numbers of a range are rounded
    (`Choice.rounded`) before they are tried.

    Args:
        choices: what may be chosen.
        startup: how many of the first are drawn at random.
    """

    def __init__(self, choices: Mapping[str, Choice], startup: int) -> None:
        """Propose nothing yet."""
        import optuna  # a second to import, and needed only here
        from ray.tune.search.optuna import OptunaSearch

        optuna.logging.set_verbosity(optuna.logging.WARNING)
        with warnings.catch_warnings(action="ignore", category=optuna.exceptions.ExperimentalWarning):
            sampler = optuna.samplers.TPESampler(seed=0, n_startup_trials=startup, constant_liar=True)
        self._choices = choices
        space = {column: _distribution(choice) for column, choice in choices.items()}
        self._search = OptunaSearch(space, metric="accuracy", mode="max", sampler=sampler)
        self._asked: list[str] = []

    def ask(self, number: int) -> list[dict[str, Any]]:
        """So many combinations to try; the same one may come again."""
        before = len(self._asked)
        self._last = [str(before + place) for place in range(number)]
        self._asked += self._last
        proposed = [self._search.suggest(name) or {} for name in self._last]
        return [
            {column: _proposed(choice, row[column]) for column, choice in self._choices.items()} for row in proposed
        ]

    def tell(self, accuracies: Sequence[float]) -> None:
        """How good those were that were asked for last."""
        for name, accuracy in zip(self._last, accuracies, strict=True):
            self._search.on_trial_complete(name, {"accuracy": accuracy, "training_iteration": 1})


def _distribution(choice: Choice) -> "BaseDistribution":
    from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

    if not choice.is_range:  # places of the values, which may be parts with settings
        return CategoricalDistribution(range(len(choice.values)))
    low, high = choice.values
    if isinstance(low, int):
        return IntDistribution(low, high, log=choice.kind == "log_uniform")
    return FloatDistribution(low, high, log=choice.kind == "log_uniform")


def _proposed(choice: Choice, value: Any) -> Any:  # noqa: ANN401 - of any setting
    """What Optuna's value means."""
    return choice.rounded(value) if choice.is_range else choice.values[value]


def _looks(store: str, lease: str, environment: Mapping[str, str]) -> str:
    """Why the lease cannot be read in the store from this machine of the cluster; empty if it can."""
    accept(environment)
    try:
        return "" if lease in Files(store).read(LEASE_FILE).decode() else "another store lies there"
    except FileNotFoundError:
        return "nothing of it is there"
    except (OSError, ValueError) as error:
        return str(error)


def _answer(answer: "ray.ObjectRef[str]") -> str:
    try:
        return str(ray.get(answer, timeout=0))
    except ray.exceptions.GetTimeoutError:
        return f"no answer within {SECONDS_TO_LOOK} seconds"
    except ray.exceptions.RayError as error:
        return _cause(error)


def _cluster(packs_per_gpu: int | None, gpus: int | None) -> list[Workers]:
    """The workers among which the planner chooses on the cluster that Ray is connected to, as `choices_here`."""
    if gpus:
        request_resources(bundles=[{"GPU": 1.0}] * gpus)  # all machines start while the run waits for the first
    num_gpus = int(sum(node.get("GPU", 0) for node in _nodes()) if gpus is None else gpus)
    memory, name = _gpu(num_gpus) if num_gpus else (0, "")
    refuse_shares_of_nothing(packs_per_gpu, num_gpus, "the cluster has no GPU (if it starts some on demand: --gpus N)")
    nodes = [node for node in _nodes() if node.get("CPU")]
    if not nodes:
        raise StudyError("The cluster has no machine with a core; if it starts GPU machines on demand, say --gpus N.")
    on_cores = Workers(
        device="cpu",
        count=int(sum(node["CPU"] for node in nodes)),
        memory=int(min(node["memory"] / node["CPU"] for node in nodes)),
        cores=int(min(node["CPU"] for node in nodes)),
    )
    if not num_gpus:
        return [on_cores]
    cores = [node["CPU"] for node in nodes if node.get("GPU")]
    if not cores:
        raise StudyError("No machine of the cluster has both a GPU and a CPU core, which each pack needs.")
    whole = Workers(device="cuda", count=num_gpus, memory=memory, cores=int(min(cores)), name=name)
    return among(whole, on_cores if gpus is None else None, packs_per_gpu, sum(cores))


def _nodes() -> list[dict[str, float]]:
    nodes = ray.nodes()  # type: ignore[no-untyped-call]
    return [node["Resources"] for node in nodes if node["Alive"]]


def _gpu(num_gpus: float) -> tuple[int, str]:
    """Memory and name of the first GPU that is free."""
    try:
        memory, name = ray.get(ray.remote(num_gpus=1)(_looks_at_gpu).remote(), timeout=SECONDS_FOR_A_GPU)
        return int(memory), str(name)
    except ray.exceptions.GetTimeoutError:
        raise StudyError(
            f"None of the cluster's {num_gpus:g} GPUs was free for {SECONDS_FOR_A_GPU} seconds; ask for fewer: --gpus."
        ) from None


def _looks_at_gpu() -> tuple[int, str]:
    return gpu_memory(), gpu_name()


def _cause(error: Exception | None) -> str:
    """The first cause of a worker's error or death, on one line."""
    cause = error.cause if isinstance(error, ray.exceptions.RayTaskError) else error
    text = one_line(cause)
    return f"{type(cause).__name__}: {text[:LONGEST_CAUSE]}{'...' * (len(text) > LONGEST_CAUSE)}"


def _pack_id(trial: RayTrial) -> str:
    return str(trial.config["pack"])

"""Running a study: what is planned, less what the store already holds, and a word at the end."""

import contextlib
import importlib.metadata
import platform
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from psp_core.datasets import Dataset, load_dataset
from psp_core.messages import plural
from study import __version__
from study.lease import FILE as LEASE_FILE
from study.lease import Lease
from study.plan import Pack, make_packs, merge, trial_id, without
from study.progress import Display, Tally
from study.screen import Screen, clock
from study.spec import StudyError, StudySpec, Trial
from study.store import Finished, TrialStore
from study.worker import Job
from study.workers import Limits

if TYPE_CHECKING:
    from study.tune import Engine


MANY_FILES: Final = 1000  # a store of more is put together when a run ends


@dataclass(frozen=True)
class Standing:
    """A study beside a store: every planned trial and what the store says of it."""

    trials: list[Trial]
    finished: dict[str, Finished]
    damaged: list[str]

    def count(self, *statuses: str | None) -> int:
        """Planned trials that ended with one of these statuses; None: of which nothing is stored."""
        return sum(self.status(trial) in statuses for trial in self.trials)

    def status(self, trial: Trial) -> str | None:
        """What the store says of a planned trial; None where it says nothing."""
        found = self.finished.get(trial_id(trial))
        return found.status if found else None

    def done(self) -> set[str]:
        """Ids that need no training; a trial that failed is tried again."""
        return {name for name, found in self.finished.items() if found.status != "failed"}


def standing(spec: StudySpec, store: TrialStore) -> Standing:
    """Compare what a study plans with what a store holds."""
    finished, damaged = store.finished()
    return Standing(merge(spec.trials()), finished, damaged)


@dataclass(frozen=True, kw_only=True)
class RunOptions:
    """How a study is run; nothing here changes what it measures.

    Attributes:
        data: the data sets' folder on this machine; workers get the data through Ray.
        address: a running Ray cluster, or None for this machine only.
        max_members: a bound on the size of packs, below what the device allows.
        packs_per_gpu: how many packs share a GPU.
        gpus: how many GPUs to plan for; a cluster that starts machines on demand is asked for them.
            0 trains on CPU cores; None takes what is there.
        max_concurrent: a bound on the number of packs that train at the same time.
        time_limit: seconds that a pack may train before its trials fail.
        time_budget: seconds after which the run stops; the same command goes on from there.
        checkpoint_seconds: how long a pack trains, at least, between two checkpoints.
    """

    data: Path | None = None
    address: str | None = None
    max_members: int | None = None
    packs_per_gpu: int = 1
    gpus: int | None = None
    max_concurrent: int | None = None
    time_limit: float | None = None
    time_budget: float | None = None
    checkpoint_seconds: float = Job.checkpoint_seconds


def run_study(spec: StudySpec, store: TrialStore, screen: Screen, options: RunOptions) -> int:
    """Train what is planned and not yet in the store.

    Returns:
        How many planned trials have no result.

    Raises:
        StudyError: the store belongs to another study, is damaged, or is being written by another run;
            data are missing; or a machine of the cluster does not see the store.
        KeyboardInterrupt: the user stopped it.
    """
    store.check(spec)
    before = standing(spec, store)
    if before.damaged:
        raise StudyError(f"{' '.join(before.damaged)} Remove what is named, and its trials will be trained again.")
    done = before.done()
    num_trials = sum(trial_id(trial) not in done for trial in before.trials)
    planned = plural(len(before.trials), "trial")
    screen.say(f"{spec.name}: {planned} planned, {len(before.trials) - num_trials} done already.")
    if not num_trials:
        return 0
    datasets = _datasets(spec, options.data)
    start = time.monotonic()
    with Lease(store.files) as lease:
        store.claim(spec, provenance())
        packs = _train(spec, store, screen, options, datasets, lease, start)
        after = standing(spec, store)
        # Again, now that nobody writes: what a storage took its time for may have come after its pack's end.
        store.tidy({pack.id for pack in without(packs, after.done())})
        if len(store.files.names("trials")) > MANY_FILES:
            store.compact()
    if after.damaged:
        raise StudyError(" ".join(after.damaged))
    missing = after.count(None)
    screen.say(
        f"Ended after {clock(time.monotonic() - start)}. Of {len(after.trials)} planned: {after.count('ok')} ok, "
        f"{after.count('diverged')} diverged, {after.count('failed')} failed"
        + (f", {missing} not trained." if missing else "."),
    )
    return after.count("failed", None)


def _train(
    spec: StudySpec,
    store: TrialStore,
    screen: Screen,
    options: RunOptions,
    datasets: dict[str, Dataset],
    lease: Lease,
    start: float,
) -> list[Pack]:
    """Train what is left to do; the packs that this was."""
    from study.tune import Engine  # imports Ray, which takes seconds: only where there is work for it

    with contextlib.ExitStack() as running:
        with screen.waiting("starting Ray"):
            engine = running.enter_context(Engine(options.address, options.packs_per_gpu, options.gpus))
            lease.confirm()
            _check_shared(store, engine, lease)
        now = standing(spec, store)  # with the lease in hand: what another run stored meanwhile is seen
        planned = make_packs(now.trials, engine.workers, options.max_members)
        packs = without(planned, now.done())
        store.tidy({pack.id for pack in packs})
        jobs = [
            Job(
                study=spec.name,
                pack=pack,
                store=store.uri,
                checkpoint_seconds=options.checkpoint_seconds,
                time_limit=options.time_limit,
            )
            for pack in packs
        ]
        tally = Tally(packs, spec.varying, engine.workers.device, start)
        display = running.enter_context(Display(screen, tally))
        limits = Limits(
            threads=engine.workers.threads(len(planned)),
            max_concurrent=options.max_concurrent,
            time_budget=options.time_budget,
        )
        engine.run(jobs, datasets, display, limits)
    return packs


def _check_shared(store: TrialStore, engine: "Engine", lease: Lease) -> None:
    """Refuse a store in a local folder that a machine of the cluster does not see."""
    if store.files.folder is None:
        return
    blind = engine.nodes_without(f"{store.files.folder}/{LEASE_FILE}", lease.id)
    if blind:
        raise StudyError(
            f"out={store.out!r} is a folder that {', '.join(blind)} cannot see, so its workers could not store "
            "anything there; use a folder that all machines share, or a URI such as s3://bucket/path."
        )


def _datasets(spec: StudySpec, data: Path | None) -> dict[str, Dataset]:
    try:
        return {name: load_dataset(name, data) for name in {trial.dataset for trial in spec.trials()} if name}
    except ValueError as error:
        raise StudyError(str(error)) from None


def provenance() -> dict[str, str]:
    """What runs the study: versions and the git commit where there is one."""
    versions = {name: importlib.metadata.version(name) for name in ("torch", "ray")}
    return {"psp": __version__, "python": platform.python_version(), **versions, "commit": _commit()}


def _commit() -> str:
    """This project's git commit, `-dirty` where files differ from it; `unknown` outside a clone."""
    root = Path(__file__).parent.parent
    if not (root / ".git").exists():
        return "unknown"
    command = ["git", "-C", str(root), "describe", "--always", "--abbrev=40", "--dirty", "--exclude=*"]
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return "unknown"

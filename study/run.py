"""Running a study: what is planned, less what the store already holds, and a word at the end."""

import contextlib
import importlib.metadata
import platform
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console

from psp_core.datasets import Dataset, load_dataset
from psp_core.trial import TrialConfig
from study import __version__
from study.plan import make_packs, merge, trial_id, without
from study.progress import Display, Tally, clock
from study.spec import StudyError, StudySpec
from study.store import Finished, TrialStore
from study.worker import Job


@dataclass(frozen=True)
class Standing:
    """A study beside a store: every planned trial and what the store says of it."""

    trials: list[TrialConfig]
    finished: dict[str, Finished]
    damaged: list[str]

    def count(self, *statuses: str | None) -> int:
        """Planned trials that ended with one of these statuses; None: of which nothing is stored."""
        return sum(self.status(trial) in statuses for trial in self.trials)

    def status(self, trial: TrialConfig) -> str | None:
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


def run_study(
    spec: StudySpec,
    store: TrialStore,
    console: Console,
    *,
    data: Path | None = None,
    address: str | None = None,
    max_members: int | None = None,
    packs_per_gpu: int = 1,
) -> int:
    """Train what is planned and not yet in the store.

    Args:
        spec: what is planned.
        store: where results go.
        console: where to say how it goes.
        data: the data sets' folder on this machine; workers get the data through Ray.
        address: a running Ray cluster, or None for this machine only.
        max_members: a bound on the size of packs, below what the device allows.
        packs_per_gpu: how many packs share a GPU.

    Returns:
        How many planned trials have no result.

    Raises:
        StudyError: the store belongs to another study or is damaged, or data are missing.
        KeyboardInterrupt: the user stopped it.
    """
    datasets = _datasets(spec, data)
    store.check(spec)
    before = standing(spec, store)
    if before.damaged:
        raise StudyError(f"{' '.join(before.damaged)} Remove what is named, and its trials will be trained again.")
    num_trials = sum(trial_id(trial) not in before.done() for trial in before.trials)
    say(console, f"{spec.name}: {len(before.trials)} trials planned, {len(before.trials) - num_trials} done already.")
    if not num_trials:
        return 0
    store.claim(spec, provenance())
    store.forget_progress()  # of runs that were killed
    from study.tune import Engine  # imports Ray, which takes seconds: only where there is work for it

    start = time.monotonic()
    with contextlib.ExitStack() as running:
        with console.status("starting Ray"):
            engine = running.enter_context(Engine(address, packs_per_gpu))
        planned = make_packs(before.trials, engine.workers, max_members)
        packs = without(planned, before.done())
        jobs = [Job(study=spec.name, pack=pack, store=store.uri) for pack in packs]
        display = running.enter_context(Display(console, Tally(packs, list(spec.axes), engine.workers.device)))
        engine.run(jobs, datasets, display, threads=engine.workers.threads(len(planned)))
    after = standing(spec, store)
    say(
        console,
        f"{num_trials} trials trained in {clock(time.monotonic() - start)}. Of {len(after.trials)} planned: "
        f"{after.count('ok')} ok, {after.count('diverged')} diverged, {after.count('failed')} failed.",
    )
    return after.count("failed", None)


def _datasets(spec: StudySpec, data: Path | None) -> dict[str, Dataset]:
    try:
        return {name: load_dataset(name, data) for name in {trial.dataset for trial in spec.trials()}}
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


def say(console: Console, text: str) -> None:
    """One plain line."""
    console.print(text, markup=False, highlight=False, soft_wrap=True)

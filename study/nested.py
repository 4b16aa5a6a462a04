"""Trials of which one is the beginning of another: what a stored one answers, and what it lets another go on from.

In streams whose tasks do not depend on how many there are, training K tasks passes through every smaller number:
a finished longer trial holds a shorter one's result, and a longer one can begin where a shorter one ended.
"""

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from psp_core.experiment import Experiment, Length
from study.plan import Start, trial_id

MEASURED: Final = ("ok", "diverged")


@dataclass(frozen=True)
class Finished:
    """What a store says of one trial; its length where it trained any tasks."""

    status: str
    error: str | None
    length: Length | None = None


@dataclass(frozen=True)
class Planned:
    """A planned trial beside what is stored.

    Attributes:
        trial: as the study has it.
        trained: as it is trained: with a milestone where the trial that it goes on from ended.
        status: of its result: ok, diverged, failed; None where there is none.
        error: what went wrong, if something did.
        answer: the id of a longer stored trial that holds its result, where it has none of its own.
        unmeasured: the number of tasks of a longer stored trial that passed through it without measuring everything.
        start: what it goes on from, or could if that had been kept.
    """

    trial: Experiment
    trained: Experiment
    status: str | None
    error: str | None
    answer: str | None = None
    unmeasured: int | None = None
    start: Start | None = None

    @property
    def is_done(self) -> bool:
        """Whether it needs no training; a trial that failed is tried again."""
        return self.status in MEASURED


def compared(trials: Iterable[Experiment], stored: Mapping[str, Finished], kept: Collection[str]) -> list[Planned]:
    """What the trials of a study are beside what a store holds.

    Args:
        trials: as planned.
        stored: what the store says, by trial id.
        kept: ids of the trials whose state it keeps.
    """
    lengths = sorted({found.length for found in stored.values() if found.length})
    return [_compared(trial, stored, lengths, kept) for trial in trials]


def not_among(trials: Iterable[Experiment], others: Iterable[Experiment]) -> list[Experiment]:
    """The trials that are none of the others, nor the beginning of one that holds their result."""
    alike: defaultdict[Experiment, list[Experiment]] = defaultdict(list)
    for other in others:
        alike[_family(other)].append(other)
    return [trial for trial in trials if not any(_is_held(trial, other) for other in alike[_family(trial)])]


def _family(trial: Experiment) -> Experiment:
    """What trials share that differ in their length alone."""
    return trial.with_length(1) if trial.is_nested else trial


def _is_held(trial: Experiment, other: Experiment) -> bool:
    if not trial.is_nested:
        return trial == other
    return other.length.num_tasks >= trial.length.num_tasks and _holds(other.length, trial)


def _compared(
    trial: Experiment, stored: Mapping[str, Finished], lengths: Sequence[Length], kept: Collection[str]
) -> Planned:
    own = stored.get(trial_id(trial))
    status, error = (own.status, own.error) if own else (None, None)
    if not trial.is_nested:
        return Planned(trial, trial, status, error)
    start = _start(trial, stored, lengths, kept)
    trained = _going_on(trial, start) if start and start.is_kept else trial
    answer = unmeasured = None
    if status not in MEASURED:
        longer = [
            (length, name)
            for length, name in _like(trial, stored, lengths, ("ok",))
            if length.num_tasks >= trial.length.num_tasks
        ]
        answer = next((name for length, name in longer if _holds(length, trial)), None)
        unmeasured = max((length.num_tasks for length, _ in longer), default=None)
    if answer:
        status, error, unmeasured = "ok", None, None
    return Planned(trial, trained, status, error, answer, unmeasured, start)


def _like(
    trial: Experiment, stored: Mapping[str, Finished], lengths: Sequence[Length], statuses: Sequence[str]
) -> list[tuple[Length, str]]:
    """The stored trials that differ from this one in their length alone."""
    names = [(length, trial_id(trial, length)) for length in lengths if length != trial.length]
    return [(length, name) for length, name in names if name in stored and stored[name].status in statuses]


def _holds(length: Length, trial: Experiment) -> bool:
    """Whether a trial of this length, no shorter, measured all that `trial` measures."""
    return trial.always_measures_all or trial.length.whole_at <= length.whole_at


def _start(
    trial: Experiment, stored: Mapping[str, Finished], lengths: Sequence[Length], kept: Collection[str]
) -> Start | None:
    """The longest stored beginning of a trial whose state is kept; else the longest."""
    own, all_along = trial.length, trial.always_measures_all
    starts = [
        Start(name, length.num_tasks, name in kept)
        for length, name in _like(trial, stored, lengths, MEASURED)
        if length.num_tasks < own.num_tasks
        and (all_along or {m for m in own.milestones if m <= length.num_tasks} <= length.whole_at)
    ]
    return max(starts, key=lambda start: (start.is_kept, start.num_tasks), default=None)


def _going_on(trial: Experiment, start: Start) -> Experiment:
    """The trial with a milestone where its beginning ended, which measured everything."""
    if trial.always_measures_all:
        return trial
    return trial.with_length(trial.length.num_tasks, (*trial.length.milestones, start.num_tasks))

"""What is said of trials that need no training, less or more than expected, and of what a study chose."""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

from psp_core.messages import plural
from psp_core.streams import Stream
from study.choices import choices_of, settled
from study.nested import Planned
from study.progress import describe
from study.spec import StudySpec
from study.tuning import Found

if TYPE_CHECKING:
    from study.standing import Standing


def explained(now: "Standing") -> Iterator[str]:
    """A line with the number of trials, and a line for each reason why there are fewer or shorter trials than named."""
    number = len(now.planned)
    left = [planned for planned in now.planned if not planned.is_done]
    later = f"; {len(now.to_come):,} more when their settings are chosen" if now.to_come else ""
    yield f"  trials   {number:,} planned, {len(left):,} to do{later}"
    if number + len(now.to_come) < now.combinations:
        named = plural(now.combinations, "combination")
        yield f"  merged   {named} in {plural(number, 'trial')}: more tasks pass through fewer"
    for (fewer, more), trials in _counted(
        (planned.trial.num_tasks, found.length.num_tasks)
        for planned in now.planned
        if planned.answer and (found := now.stored[planned.answer]).length
    ):
        yield f"  stored   {plural(fewer, 'task')}: {trials} done, by trials of {more} that passed through them"
    yield from _starts(left)


def same_tasks(spec: StudySpec) -> Iterator[str]:
    """A note for each stream of which the study measures the tasks that choose its settings, whatever the seeds."""
    for stream in dict.fromkeys(filter(None, map(partial(_seen_twice, spec), spec.cells()))):
        yield (
            f"note: stream={stream!r} makes the same tasks of every seed, so settings are chosen on the tasks that are "
            "measured, by validation images of theirs."
        )


def _seen_twice(spec: StudySpec, cell: Mapping[str, Any]) -> str | None:
    """The name of the stream whose tasks both tuning and measuring see in this cell."""
    if not spec.tune or not choices_of(cell):
        return None
    tuning, measured = (trials(settled(cell))[0] for trials in (spec.tuning, spec.measured))
    stream = measured.of(Stream)
    is_same = stream == tuning.of(Stream) and measured.row["dataset"] == tuning.row["dataset"]
    return stream.name if is_same and not stream.is_random else None


def chosen_lines(spec: StudySpec, found: Sequence[Found]) -> Iterator[str]:
    """A line for each best setting that a study has found, and a note where that lies at an end of what it may be."""
    for each in found:
        where = _named(each.cell, spec)
        values = " ".join(f"{key}={value}" for key, value in each.best.values.items())
        of = f"best of {len(each.tried)}, accuracy {each.best.accuracy:.3f} on validation images"
        yield f"chose {values} for {where} ({of})"
        for key, end in each.edges.items():
            yield (
                f"  note: {key}={each.best.values[key]} is at the {end} end of what was tried for {where}; a better "
                "one may lie beyond: widen it and run again."
            )


def _named(cell: Mapping[str, Any], spec: StudySpec) -> str:
    """A cell by the label of its curve and its place on the axes: `none, ewc width=64`; `any context width=64`."""
    trial, choices = spec.measured(settled(cell))[0], choices_of(cell)
    (first, name), *others = trial.curve_of.items()
    label = name if first not in choices else f"any {first}"
    label += "".join(piece for column, piece in others if column not in choices)
    axes = [column for column, values in spec.axes.items() if len(values) > 1 and column != first]
    return " ".join([label, *([describe([trial], axes)] if axes else [])])


def _starts(left: Iterable[Planned]) -> Iterator[str]:
    """From where the trials left to do go on, or why they start from the beginning."""
    left = list(left)
    begun = [(planned, planned.start) for planned in left if planned.start]
    for (more, fewer), trials in _counted((p.trial.num_tasks, s.num_tasks) for p, s in begun if s.is_kept):
        yield f"  go on    {plural(more, 'task')}: {trials} from task {fewer}, where a stored one ended"
    for (more, fewer), trials in _counted((p.trial.num_tasks, s.num_tasks) for p, s in begun if not s.is_kept):
        why = f"the state of those of {fewer} was not kept: run with --keep-state to have it kept"
        yield f"  again    {plural(more, 'task')}: {trials} from the start, for {why}"
    for (fewer, more), trials in _counted((p.trial.num_tasks, p.unmeasured) for p in left if p.unmeasured):
        why = f"those of {more} did not measure every task on the whole test set after {fewer}"
        yield f"  again    {plural(fewer, 'task')}: {trials} from the start, for {why}: see eval_tasks and eval_samples"


def _counted(pairs: Iterable[tuple[int, int]]) -> Iterator[tuple[tuple[int, int], str]]:
    for pair, number in sorted(Counter(pairs).items()):
        yield pair, plural(number, "trial")

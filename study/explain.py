"""What `psp plan` says of trials that need no training, less training or more than expected."""

from collections import Counter
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

from psp_core.messages import plural
from study.nested import Planned

if TYPE_CHECKING:
    from study.run import Standing


def explained(now: "Standing") -> Iterator[str]:
    """A line with the number of trials, and a line for each reason why there are fewer or shorter trials than named."""
    number = len(now.planned)
    left = [planned for planned in now.planned if not planned.is_done]
    yield f"  trials   {number:,} planned, {len(left):,} to do"
    if number < now.combinations:
        named = plural(now.combinations, "combination")
        yield f"  merged   {named} in {plural(number, 'trial')}: more tasks pass through fewer"
    for (fewer, more), trials in _counted(
        (planned.trial.num_tasks, found.length.num_tasks)
        for planned in now.planned
        if planned.answer and (found := now.stored[planned.answer]).length
    ):
        yield f"  stored   {plural(fewer, 'task')}: {trials} done, by trials of {more} that passed through them"
    yield from _starts(left)


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

"""Which workers run a study, where there are several ways: the planner takes those with which it ends soonest."""

from collections.abc import Callable, Sequence
from typing import Final

from study.plan import START_SECONDS, Pack, duration
from study.screen import words
from study.workers import Workers

SOONER: Final = 0.9  # by a tenth at least, or the simpler way is taken: estimates are no better than that


def chosen(choices: Sequence[Workers], packs_of: Callable[[Workers], Sequence[Pack]]) -> tuple[Workers, str]:
    """The workers with which a study ends soonest, and in words what it would take with them and with others.

    Args:
        choices: the simplest first.
        packs_of: all packs of the study for such workers. Of all of it, whatever is done already: a run that goes on
            has the same workers, and so the same packs, as the one before.

    Returns:
        The workers; and such as `4 packs share each GPU: 1 min 10 s; one at a time: 1 min 55 s; 16 CPU cores: 2 min`,
        which is empty where there is no choice.
    """
    if len(choices) == 1:
        return choices[0], ""
    timed = [(START_SECONDS + duration(packs_of(workers), workers), workers) for workers in choices]
    best = timed[0]
    for entry in timed[1:]:
        if entry[0] < SOONER * best[0]:
            best = entry
    others = [entry for entry in timed if entry is not best and entry[1].packs_per_gpu == 1]
    return best[1], "; ".join(f"{_words(workers)}: {words(seconds)}" for seconds, workers in (best, *others))


def _words(workers: Workers) -> str:
    if workers.device == "cpu":
        return f"{workers.count} CPU cores"
    n = workers.packs_per_gpu
    return "one pack at a time on each GPU" if n == 1 else f"{n} packs share each GPU"

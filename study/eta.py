"""How long a run still takes, by what its packs took so far."""

from collections.abc import Sequence
from dataclasses import dataclass
from heapq import heapify, heapreplace


@dataclass
class Course:
    """A pack on its way.

    Attributes:
        planned: seconds that the plan estimates for what is before it, above 0.
        began: when it began, on the run's clock; None before.
        fraction: how much of it is trained, 0 to 1, as last heard.
        heard: when that was heard.
        at_first: how much of it was trained when it began, in a run before.
    """

    planned: float
    began: float | None = None
    fraction: float = 0.0
    heard: float = 0.0
    at_first: float = 0.0

    @property
    def trained(self) -> float:
        """How much of it this run trained."""
        return self.fraction - self.at_first

    @property
    def spent(self) -> float:
        """Seconds of this run until it was last heard of."""
        return self.heard - self.began if self.began is not None else 0.0


def remaining(courses: Sequence[Course], at_once: int, now: float) -> float | None:
    """Seconds until all packs have run; None before anything is trained.

    A pack that runs goes on at its own pace. Those that wait take what the plan estimates, times the ratio of measured
    to planned seconds so far. Each begins, in their order, as soon as a worker is free; so the end, where some workers
    have nothing left to do, counts as what it takes.

    Args:
        courses: all packs of the run, in the order in which they start.
        at_once: how many train at the same time.
        now: the time on the run's clock.
    """
    planned = sum(each.planned * each.trained for each in courses)
    if not planned:
        return None
    ratio = sum(each.spent for each in courses if each.trained) / planned
    begun = [each for each in courses if each.began is not None and each.fraction < 1]
    free = [max(0.0, _left(each, ratio) - (now - each.heard)) for each in begun]
    free += [0.0] * max(0, at_once - len(free))
    heapify(free)
    for each in courses:
        if each.began is None and each.fraction < 1:
            heapreplace(free, free[0] + ratio * each.planned)
    return max(free)


def _left(course: Course, ratio: float) -> float:
    """Seconds that a pack still takes from when it was last heard of."""
    if not course.trained:
        return ratio * course.planned
    return course.spent / course.trained * (1 - course.fraction)

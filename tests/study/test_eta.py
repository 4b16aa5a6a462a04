"""The time left, worked by hand, and against the packs of a run as they were measured."""

from heapq import heappop, heappush

import pytest

from study.eta import Course, remaining

QUICKSTART = [
    *((0.27, 2.52), (1.60, 9.77), (1.58, 13.86), (1.58, 11.18), (1.58, 8.22), (1.58, 8.04), (1.39, 7.64)),
    *((0.72, 6.10), (0.71, 3.77), (0.58, 3.12), (0.42, 2.56), (0.43, 4.86), (0.34, 2.55), (0.31, 2.56)),
]
"""Planned and measured seconds of the packs of a `psp run quickstart` on two cores that other programs used too."""


def running(planned: float, fraction: float, began: float, heard: float, **more: float) -> Course:
    return Course(planned, began=began, fraction=fraction, heard=heard, **more)


def test_nothing_is_known_before_anything_is_trained() -> None:
    assert remaining([Course(1.0), running(1.0, 0.0, 5.0, 5.0)], 2, 9.0) is None
    assert remaining([], 2, 9.0) is None


def test_a_pack_goes_on_at_its_own_pace_and_others_at_that_of_the_run() -> None:
    courses = [running(2.0, 1.0, 0.0, 6.0), running(2.0, 0.5, 6.0, 10.0), Course(1.0)]
    ratio = (6 + 4) / (2 + 1)
    assert remaining(courses, 1, 10.0) == pytest.approx(4 + ratio)
    assert remaining(courses, 1, 12.0) == pytest.approx(2 + ratio)  # it went on since it was heard of
    assert remaining(courses, 2, 10.0) == pytest.approx(max(4, ratio))  # the other begins beside it


def test_a_pack_that_was_not_heard_of_yet_takes_what_the_plan_says() -> None:
    assert remaining([running(1.0, 0.5, 0.0, 2.0), running(3.0, 0.0, 1.0, 1.0)], 2, 2.0) == pytest.approx(4 * 3 - 1)


def test_workers_that_have_nothing_left_do_not_help() -> None:
    courses = [running(1.0, 1.0, 0.0, 1.0), *(Course(1.0) for _ in range(3))]
    assert remaining(courses, 2, 1.0) == pytest.approx(2)
    assert remaining(courses, 8, 1.0) == pytest.approx(1)


def test_what_an_earlier_run_trained_is_no_pace() -> None:
    assert remaining([running(9.0, 0.75, 0.0, 5.0, at_first=0.5)], 1, 5.0) == pytest.approx(5)


def test_all_done_is_no_time() -> None:
    assert remaining([running(1.0, 1.0, 0.0, 1.0)], 3, 8.0) == 0


@pytest.mark.parametrize("workers", [1, 2, 3, 4])
def test_after_a_tenth_of_a_run_its_end_is_known_within_a_quarter(workers: int) -> None:
    spans, free = [], [0.0] * workers
    for _, seconds in QUICKSTART:
        began = heappop(free)
        spans.append((began, began + seconds))
        heappush(free, began + seconds)
    end = max(free)
    for percent in range(10, 100):
        now = end * percent / 100
        courses = [at(now, planned, *span) for (planned, _), span in zip(QUICKSTART, spans, strict=True)]
        left = remaining(courses, workers, now)
        assert left is not None
        assert now + left == pytest.approx(end, rel=0.25)


def at(now: float, planned: float, began: float, end: float) -> Course:
    """A pack of ten tasks as it is heard of after each."""
    if now < began:
        return Course(planned)
    tasks = min(10, int(10 * (now - began) / (end - began)))
    return running(planned, tasks / 10, began, began + tasks / 10 * (end - began))

"""How often a pack whose worker died may begin again: what Tune is told after each result."""

from types import SimpleNamespace
from typing import Any

import pytest

from study.progress import Display, Tally
from study.screen import Screen
from study.stop import Stop
from study.tune import LONGEST_CAUSE, MAX_RESTARTS, _cause, _Reporter
from tests.conftest import small_study
from tests.study.test_store import job_in


@pytest.fixture
def reporter(tmp_path: Any) -> _Reporter:
    job, _ = job_in(tmp_path)
    return _Reporter({job.pack.id: job}, Display(Screen(), Tally([job.pack], small_study().varying)), Stop())


def result(kept: float, refused: str = "") -> dict[str, Any]:
    return {"fraction": kept, "kept": kept, "done": False, "failed": False, "refused": refused}


def trial_of(reporter: _Reporter) -> Any:
    (pack,) = reporter.jobs
    return SimpleNamespace(config={"pack": pack}, num_failures=0, max_failures=MAX_RESTARTS)


def test_a_pack_that_gets_on_may_lose_any_number_of_machines(reporter: _Reporter) -> None:
    trial = trial_of(reporter)
    for lost in range(10):
        trial.num_failures = lost
        reporter.on_trial_result(0, [trial], trial, result((lost + 1) / 20))
        assert trial.max_failures - trial.num_failures == MAX_RESTARTS


def test_a_pack_that_dies_at_the_same_place_again_and_again_is_given_up(reporter: _Reporter) -> None:
    trial = trial_of(reporter)
    reporter.on_trial_result(0, [trial], trial, result(0.5))
    allowed = trial.max_failures
    for lost in range(1, MAX_RESTARTS + 2):
        trial.num_failures = lost
        for kept in (0.0, 0.5):  # it trains on from what was kept, and keeps nothing newer
            reporter.on_trial_result(0, [trial], trial, result(kept))
    assert trial.max_failures == allowed < trial.num_failures


def test_a_storage_that_takes_no_more_ends_the_run(reporter: _Reporter) -> None:
    trial = trial_of(reporter)
    reporter.on_trial_result(0, [trial], trial, result(0.5, refused="no space left on device"))
    assert reporter.stop.due()
    assert reporter.stop.refused == "no space left on device"


def test_a_failures_line_begins_with_its_cause_and_is_short() -> None:
    import ray

    error = ray.exceptions.RayTaskError("step", "Traceback (most recent call last):\n" * 99, OSError("no\nroute " * 99))
    assert _cause(error).startswith("OSError: no route no route")
    assert len(_cause(error)) < LONGEST_CAUSE + 20
    assert "\n" not in _cause(error)

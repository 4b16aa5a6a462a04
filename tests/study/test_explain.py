"""What is said of a study that chooses its settings on the tasks that it measures."""

from typing import Any

import pytest

from study.explain import same_tasks
from tests.study.test_tuning import grid, spec_of

SETTINGS = {"dataset": "digits", "steps_per_task": 5, "batch_size": 16, "lr": {"choice": [0.01, 0.1]}, "num_tasks": 3}
SPLIT = {"stream": "split", "classes_per_task": 2}
TUNE = {"seeds": [100], "validation": 100, "settings": {"num_tasks": 2}}


@pytest.mark.parametrize(
    ("settings", "tune", "is_noted"),
    [
        (SPLIT, {}, True),
        ({**SPLIT, "shuffle_classes": True}, {}, False),
        ({"stream": "turned"}, {}, True),
        ({"stream": "permuting"}, {}, False),
        (SPLIT, {"classes_per_task": 3}, False),
        ({"stream": "turned"}, {"dataset": "mnist"}, False),
    ],
)
def test_a_stream_that_makes_the_same_tasks_of_every_seed_is_noted_once_where_it_tunes_and_is_measured(
    settings: dict[str, Any], tune: dict[str, Any], is_noted: bool
) -> None:
    spec = grid(settings={**SETTINGS, **settings}, tune={**TUNE, "settings": {**TUNE["settings"], **tune}})
    lines = list(same_tasks(spec))
    assert len(lines) == is_noted
    for line in lines:
        assert line.startswith(f"note: stream={settings['stream']!r} makes the same tasks of every seed")


def test_a_study_that_chooses_nothing_is_not_noted() -> None:
    plain = {**SETTINGS, **SPLIT, "lr": 0.1}
    assert not list(same_tasks(spec_of(settings=plain, variants=None, tune=None)))

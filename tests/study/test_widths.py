"""Studies that say how many bytes a trial may keep, in place of a width."""

from typing import Any

import pytest

from study.spec import StudyError, StudySpec
from study.widths import widths

STUDY: dict[str, Any] = {
    "name": "equal",
    "variants": [{"context": ["none", "binary"]}, {"context": "none", "protect": {"name": "ewc", "strength": 1}}],
    "axes": {"max_bytes": [20_000, 60_000]},
    "settings": {"dataset": "digits", "num_tasks": 10},
}


def spec_of(**keys: Any) -> StudySpec:
    return StudySpec.from_mapping({**STUDY, **keys})


def test_each_variant_has_its_own_width_at_each_limit() -> None:
    trials = spec_of().trials()
    for trial in trials:
        assert 0.8 * trial.row["max_bytes"] < trial.facts["kept_bytes"] <= trial.row["max_bytes"]  # type: ignore[operator]
    assert len({trial.row["width"] for trial in trials}) > 3


def test_the_plan_says_them() -> None:
    few, many = widths(spec_of().trials())
    found = {
        ("".join(trial.curve_of.values()), trial.row["max_bytes"]): trial.row["width"] for trial in spec_of().trials()
    }
    assert few.startswith("  widths   at most 20,000 bytes: ")
    assert f"{found['none, ewc 1', 60_000]} (none, ewc 1)" in many
    assert not list(widths(spec_of(axes={"width": [4, 8]}).trials()))


def test_what_has_no_room_is_refused_before_anything_runs() -> None:
    with pytest.raises(StudyError, match=r"max_bytes=100 has no room for the .* at width=1"):
        spec_of(axes={"max_bytes": [100, 20_000]})


def test_tuning_trials_of_fewer_tasks_are_as_wide_as_what_is_measured() -> None:
    spec = spec_of(
        variants=[{"context": "complex"}],
        settings={**STUDY["settings"], "lr": {"choice": [0.001, 0.01]}},
        tune={"search": "grid", "seeds": [7], "validation": 100, "settings": {"num_tasks": 2}},
    )
    for cell in spec.cells():
        row = {**cell, "lr": 0.01}
        (measured,), (tuned,) = spec.measured(row), spec.tuning(row)
        assert (tuned.row["num_tasks"], measured.row["num_tasks"]) == (2, 10)
        assert tuned.row["width"] == measured.row["width"]

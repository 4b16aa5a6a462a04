"""`psp show`: every setting of a study is said, and the study is the same."""

import json

import pytest

from study.plan import trial_id
from study.resolved import resolved, resolved_text
from study.shipped import shipped_studies
from study.spec import StudySpec, load_study
from study.yaml_text import load_yaml


@pytest.mark.parametrize("name", shipped_studies())
def test_what_is_shown_is_a_study_file_of_the_same_trials(name: str) -> None:
    spec = load_study(name)
    again = StudySpec.from_mapping(load_yaml("\n".join(resolved_text(spec))))
    assert {trial_id(trial) for trial in again.trials()} == {trial_id(trial) for trial in spec.trials()}
    every = {*again.settings, *again.axes, *(key for variant in again.variants for key in variant)}
    assert {key for cell in spec.cells() for key in cell} <= every


def test_a_part_that_the_study_chooses_keeps_its_settings_to_itself() -> None:
    choice = {"choice": [{"name": "xdg", "gated": 0.5}, "none", {"name": "xdg", "gated": 0.8}]}
    settings = {"dataset": "digits", "num_tasks": 3, "context": choice}
    spec = StudySpec.from_mapping({"name": "tuned", "settings": settings, "tune": {"seeds": [100]}})
    again = StudySpec.from_mapping(load_yaml("\n".join(resolved_text(spec))))
    assert {trial_id(trial) for trial in again.trials()} == {trial_id(trial) for trial in spec.trials()}
    assert resolved(spec)["settings"]["context"] == choice
    assert "gated" not in again.settings


def test_a_part_is_shown_as_a_part() -> None:
    spec = load_study("quickstart").with_only(["context=none,binary", "width=16", "seed=1"])
    content = resolved(spec)
    assert content["axes"] == {"context": ["none", "binary"]}
    assert content["settings"]["width"] == 16
    assert content["seeds"] == [1]


def test_settings_that_the_study_does_not_say_are_marked(psp) -> None:
    lines = psp("show", "quickstart", "--set", "momentum=0.9").out.splitlines()
    assert lines[0] == "# 60 trials"
    assert "  momentum: 0.9" in lines
    assert "  batch_size: 64" in lines
    assert "  optimiser: rmsprop  # default" in lines
    assert "  width: [16, 32, 64, 128]" in lines


def test_programs_get_the_same(psp) -> None:
    assert json.loads(psp("show", "rivals", "--small", "--json").out) == resolved(load_study("rivals").reduced())

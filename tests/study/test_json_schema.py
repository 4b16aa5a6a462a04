"""The schema of study files knows every study that ships, and what editors should mark."""

from typing import Any

import pytest
from jsonschema import Draft202012Validator

from study.json_schema import study_schema
from study.shipped import shipped_studies
from study.yaml_text import load_yaml

SCHEMA = study_schema()
VALIDATOR = Draft202012Validator(SCHEMA)


def is_valid(**content: Any) -> bool:
    return bool(VALIDATOR.is_valid({"name": "mine", **content}))


def test_it_is_a_schema() -> None:
    Draft202012Validator.check_schema(SCHEMA)


@pytest.mark.parametrize("name", shipped_studies())
def test_it_takes_every_shipped_study(name: str) -> None:
    content = load_yaml(shipped_studies()[name].read_text(encoding="utf-8"))
    assert [error.message for error in VALIDATOR.iter_errors(content)] == []


@pytest.mark.parametrize(
    "content",
    [
        {"axes": {"lr": {"log_uniform": [1e-4, 1e-2], "draws": 5, "seed": 1}}},
        {"axes": {"model.width": [4, 8]}},
        {"settings": {"lr": {"choice": [0.1, 0.2]}}, "tune": {"seeds": [100]}, "measure": {"seeds": [0]}},
        {"settings": {"protect": {"name": "ewc", "strength": [1, 2]}, "method.context": ["none", {"name": "xdg"}]}},
        {"settings": {"context": {"choice": ["none", {"name": "xdg", "gated": 0.5}]}}, "tune": {"seeds": [100]}},
        {"settings": {"max_bytes": "100_000", "classes_per_task": None}},
        {"kind": "retrieval", "settings": {"num_draws": 8}},
        {"small": {"axes": {"width": [4]}, "seeds": [0]}},
        {"axes": None},
        {"keep_models": True},
    ],
)
def test_it_takes_what_a_study_may_say(content: dict[str, Any]) -> None:
    assert is_valid(**content)


@pytest.mark.parametrize(
    "content",
    [
        {"name": "Not a name"},
        {"axis": {"width": [4]}},
        {"keep_models": "yes"},
        {"kind": "trainig"},
        {"axes": {"widht": [4]}},
        {"axes": {"width": 4}},
        {"axes": {"width": [0]}},
        {"axes": {"width": [4, 4]}},
        {"axes": {"context": ["binray"]}},
        {"axes": {"lr": {"log_uniform": [1e-4, 1e-2]}}},
        {"axes": {"lr": {"log_normal": [1e-4, 1e-2], "draws": 5}}},
        {"settings": {"context": {"choice": ["none", "binray"]}}},
        {"settings": {"context": {"uniform": ["none", "binary"]}}},
        {"settings": {"permute_first": "yes"}},
        {"settings": {"lr": "fast"}},
        {"settings": {"momentum": 1}},
        {"settings": {"seed": 1}},
        {"settings": {"protect": {"name": "ewc", "strenght": 1}}},
        {"settings": {"protect": {"name": "ewc", "damping": 1}}},
        {"settings": {"num_draws": 8}},
        {"settings": {"model.widht": 8}},
        {"variants": [{}]},
        {"variants": {"context": "none"}},
        {"seeds": []},
        {"seeds": [0.5]},
        {"tune": {"search": "rnadom", "seeds": [100]}},
        {"small": {"name": "mine-small"}},
    ],
)
def test_it_refuses_a_wrong_name_and_a_wrong_value(content: dict[str, Any]) -> None:
    assert not is_valid(**content)


def test_it_explains_a_setting_where_it_stands() -> None:
    reference = SCHEMA["$defs"]["any-axes"]["properties"]["lr"]["$ref"]
    text = SCHEMA["$defs"][reference.removeprefix("#/$defs/")]["description"]
    assert text.startswith("Learning rate")
    assert "It must be a positive, finite number" in text

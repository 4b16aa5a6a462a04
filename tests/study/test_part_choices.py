"""A study that chooses a part, such as a context, by itself: what the file may say, and what is tried and chosen."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from psp_core.experiment import Experiment
from study.choices import Choice, NamedPart
from study.explain import chosen_lines
from study.spec import StudyError, StudySpec
from study.standing import Stored, record
from study.store import TrialStore
from study.tuning import stages
from study.yaml_text import dump_yaml, load_yaml
from tests.study.test_tuning import spec_of

CONTEXTS = ["none", "binary", {"name": "xdg", "gated": 0.5}]
CHOSEN = {"choice": CONTEXTS}
SETTINGS: dict[str, Any] = {"dataset": "digits", "num_tasks": 3, "steps_per_task": 5, "batch_size": 16}


def choosing(**changes: Any) -> StudySpec:
    tune = {"seeds": [100], "validation": 100}
    return spec_of(
        **{
            "settings": {**SETTINGS, "context": CHOSEN},
            "axes": {"width": [4]},
            "variants": None,
            "tune": tune,
            **changes,
        }
    )


def by_name(best: str) -> Any:
    """Scores that are best of one context."""

    def score(trials: Sequence[Experiment]) -> list[float | None]:
        return [0.9 if trial.row["context"] == best else 0.5 for trial in trials]

    return score


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"settings": {**SETTINGS, "method": {"name": "psp", "context": CHOSEN}}},
        {"settings": {**SETTINGS, "method.context": CHOSEN}},
        {"settings": SETTINGS, "variants": [{"method": {"context": CHOSEN}}]},
    ],
)
def test_every_listed_part_is_tried_with_its_own_settings(changes: dict[str, Any]) -> None:
    spec = choosing(**changes)
    (tuning, measuring), _ = stages(spec, None)
    tried = [(trial.row["context"], trial.row.get("gated")) for trial in tuning.trials]
    assert tried == [("none", None), ("binary", None), ("xdg", 0.5)]
    assert len(measuring.to_come) == 2
    again = StudySpec.from_mapping(load_yaml(dump_yaml(spec.to_mapping())))
    assert again == spec
    assert again.trials() == spec.trials()


def test_the_best_part_is_measured_recorded_and_said(tmp_path: Path) -> None:
    spec = choosing()
    (_, measuring), found = stages(spec, by_name("xdg"))
    assert {(trial.row["context"], trial.row["gated"]) for trial in measuring.trials} == {("xdg", 0.5)}
    (line,) = chosen_lines(spec, found)
    assert line.startswith("chose context=xdg gated=0.5 for any context (best of 3")
    assert b'"gated": 0.5' in record(spec, found, Stored.of(TrialStore(str(tmp_path / "none"))))


def test_other_parts_and_numbers_are_chosen_beside_it() -> None:
    settings = {
        **SETTINGS,
        "optimiser": {"choice": ["adam", {"name": "sgd", "momentum": 0.9}]},
        "lr": {"choice": [0.1, 0.2]},
    }
    tried = {
        (trial.row["optimiser"], trial.row["momentum"], trial.row["lr"])
        for trial in stages(choosing(settings=settings), None)[0][0].trials
    }
    assert tried == {(name, momentum, lr) for name, momentum in (("adam", 0.0), ("sgd", 0.9)) for lr in (0.1, 0.2)}


def test_set_puts_a_part_in_its_place() -> None:
    changed = choosing().with_values(["context=binary"])
    assert changed.tune is None
    assert {trial.row["context"] for trial in changed.trials()} == {"binary"}


def test_a_small_form_may_keep_the_choice() -> None:
    assert (
        choosing(small={"settings": {"num_tasks": 2}}).reduced().settings["context"] == choosing().settings["context"]
    )


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"choice": ["none", "binry"]}, r"context='binry' is not known"),
        ({"choice": ["none", {"gated": 0.5}]}, r"context=None must be a name"),
        ({"choice": ["none", {"name": "xdg", "gates": 0.5}]}, r"'gates' is not a setting of context='xdg'"),
        ({"choice": ["none", {"name": "xdg", "gated": 2}]}, r"gated=2"),
        ({"choice": ["binary", "binary"]}, r"lists a value twice"),
        ({"uniform": ["none", "binary"]}, r"must be two numbers; use choice"),
    ],
)
def test_what_is_wrong_is_said(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(StudyError, match=message):
        choosing(settings={**SETTINGS, "context": changes})


def test_a_part_that_cannot_be_beside_the_others_is_refused_before_anything_runs() -> None:
    settings = {**SETTINGS, "heads": "per-task", "context": {"choice": ["none", "binary", "complex"]}}
    tune = {"search": "random", "trials": 2, "seeds": [100], "validation": 100}  # which does not come to the third
    with pytest.raises(StudyError, match="context='complex' is complex"):
        choosing(settings=settings, tune=tune)
    with pytest.raises(StudyError, match=r"gated=0\.5 does not apply to context='none'"):
        choosing(settings={**SETTINGS, "context": {"choice": ["xdg", "none"]}, "gated": 0.5})
    with pytest.raises(StudyError, match="'context' is given twice"):
        choosing(settings={**SETTINGS, "context": CHOSEN, "method": {"context": "binary"}})


def test_without_tune_it_is_refused() -> None:
    with pytest.raises(StudyError, match="no block 'tune'"):
        spec_of(settings={**SETTINGS, "context": CHOSEN}, variants=None, tune=None)


def test_named_parts_compare_and_hash_by_what_they_say() -> None:
    one, same, other = (NamedPart(name="xdg", gated=value) for value in (0.5, 0.5, 0.6))
    assert one == same
    assert hash(one) == hash(same)
    assert len({one, same, other}) == 2
    assert Choice("choice", ("none", one)).to_mapping() == {"choice": ["none", {"name": "xdg", "gated": 0.5}]}
    assert str(one) == "xdg gated=0.5"


def test_optuna_proposes_parts_with_their_settings() -> None:
    values = ("none", "binary", NamedPart(name="xdg", gated=0.5))
    tune = {"search": "optuna", "trials": 2, "rounds": 1, "seeds": [100], "validation": 100}
    (tuning, _), _ = stages(choosing(tune=tune), by_name("xdg"))
    assert all(trial.row["gated"] == 0.5 for trial in tuning.trials if trial.row["context"] == "xdg")
    from study.tune import OptunaSearcher  # imports Ray, which takes seconds

    searcher = OptunaSearcher({"context": Choice("choice", values)}, startup=12)
    assert {row["context"] for row in searcher.ask(12)} == set(values)

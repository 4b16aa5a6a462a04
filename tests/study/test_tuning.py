"""A study that chooses its own settings: what the file may say, which trials follow, and what is chosen."""

import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import yaml

from psp_core.datasets import load_dataset
from psp_core.experiment import Experiment
from study.choices import Choice
from study.explain import chosen_lines, explained
from study.plan import make_packs, merge, without
from study.spec import StudyError, StudySpec
from study.standing import RECORD, Stored, by_stage, record, standing, whole_standing
from study.store import TrialStore
from study.tuning import Stage, stages
from study.worker import Job, PackRun

LRS = [0.001, 0.01, 0.1]
TINY: dict[str, Any] = {
    "name": "tiny",
    "variants": [
        {"context": "none"},
        {"context": "none", "protect": {"name": "ewc", "strength": {"log_uniform": [0.1, 1000]}}},
    ],
    "axes": {"width": [4, 8]},
    "settings": {"dataset": "digits", "num_tasks": 3, "steps_per_task": 5, "batch_size": 16, "lr": {"choice": LRS}},
    "tune": {"search": "random", "trials": 4, "seeds": [100], "validation": 100, "settings": {"num_tasks": 2}},
    "measure": {"seeds": [0, 1]},
}


def spec_of(**changes: Any) -> StudySpec:
    """The study with other blocks; a block None is left out."""
    content = {**TINY, **changes}
    return StudySpec.from_mapping({key: value for key, value in content.items() if value is not None})


def grid(**changes: Any) -> StudySpec:
    """A grid over the learning rate alone."""
    tune = {"seeds": [100, 101], "validation": 100, "settings": {"num_tasks": 2}}
    return spec_of(variants=None, **{"tune": tune, **changes})


def good_at(lr: float, *, unknown: Sequence[int] = ()) -> Any:
    """Scores that are best at one learning rate; those of some widths are not known."""

    def score(trials: Sequence[Experiment]) -> list[float | None]:
        distances = [abs(math.log(trial.row["lr"] / lr)) for trial in trials]
        rows = zip(trials, distances, strict=True)
        return [None if trial.row["width"] in unknown else 1 / (1 + distance) for trial, distance in rows]

    return score


def sizes(spec: StudySpec, score: Any = None) -> list[tuple[str, int, int]]:
    every, _ = stages(spec, score)
    return [(stage.name, len(stage.trials), len(stage.to_come)) for stage in every]


# What the file says


def test_a_study_survives_being_written() -> None:
    for spec in (spec_of(), grid(), spec_of(tune={**TINY["tune"], "search": "optuna", "rounds": 2})):
        assert StudySpec.from_mapping(yaml.safe_load(yaml.safe_dump(spec.to_mapping()))) == spec


def test_a_study_without_the_block_is_written_as_before() -> None:
    assert not {"tune", "measure"} & spec_of(tune=None, measure=None, variants=None, settings={}).to_mapping().keys()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"tune": {**TINY["tune"], "serch": "grid"}}, "tune: 'serch' is not a key.*did you mean 'search'"),
        ({"tune": {**TINY["tune"], "search": "gird"}}, "search='gird' is not known; did you mean 'grid'"),
        ({"tune": {**TINY["tune"], "num_tasks": 2}}, "'num_tasks' is a setting: put it under 'tune: settings:'"),
        ({"tune": {**TINY["tune"], "search": "grid"}}, "trials=4 does not apply to search='grid'"),
        ({"tune": {"seeds": [100]}}, "protect_strength: .*log_uniform.* list them: .choice"),
        ({"tune": {"search": "random", "seeds": [100]}}, "needs trials"),
        ({"tune": {**TINY["tune"], "rounds": 2}}, "rounds does not apply to search='random'"),
        ({"tune": {"search": "random", "trials": 4}}, "tune: seeds is missing"),
        ({"tune": {**TINY["tune"], "seeds": [1, 100]}}, r"seeds \[1\] are measured ones too"),
        ({"tune": {**TINY["tune"], "trials": 0}}, "trials=0 must be a whole number of at least 1"),
        ({"tune": {**TINY["tune"], "settings": {"lr": 0.1}}}, "tune: settings has 'lr', which the study chooses"),
        ({"tune": {**TINY["tune"], "settings": {"depth": {"choice": [1, 2]}}}}, "tune: settings depth has one value"),
        ({"tune": {**TINY["tune"], "validation": 1000}}, "validation=1000 must be 0, or from 10"),
        ({"tune": None, "measure": None}, "lr=.*would be chosen by the study, which has no block 'tune'"),
        ({"measure": {"seeds": [0], "sedes": [1]}}, "measure: 'sedes' is not a key of it; did you mean 'seeds'"),
        ({"measure": {"seeds": [0]}, "seeds": [0]}, "seeds stand in the study and in measure"),
        ({"axes": {"width": [{"choice": [4, 8]}]}}, "axes width has one value, and the study chooses no other there"),
        ({"settings": {**TINY["settings"], "lr": {"chioce": LRS}}}, "lr: .*did you mean 'choice'"),
        ({"settings": {**TINY["settings"], "lr": {"choice": [0.1]}}}, "choice: .0.1. must be a list of at least two"),
        ({"settings": {**TINY["settings"], "lr": {"choice": [0.1, 0.1]}}}, "lists a value twice"),
        ({"settings": {**TINY["settings"], "lr": {"uniform": [1, 0.1]}}}, "must be the lowest and then the highest"),
        ({"settings": {**TINY["settings"], "lr": {"log_uniform": [0.1, "x"]}}}, "lr='x' must be a number"),
        ({"settings": {**TINY["settings"], "lr": {"choice": [0.1, -1]}}}, "lr=-1.0 must be"),
    ],
)
def test_what_is_wrong_is_said_with_the_remedy(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(StudyError, match=message):
        spec_of(**changes)


def test_nothing_to_choose_is_refused() -> None:
    with pytest.raises(StudyError, match="no setting is left to choose"):
        spec_of(variants=None, settings={**TINY["settings"], "lr": 0.01})


# Which trials there are


def test_tuning_trials_have_other_seeds_and_are_measured_on_validation_images() -> None:
    (tuning, measuring), _ = stages(grid())
    assert {trial.row["lr"] for trial in tuning.trials} == set(LRS)
    assert {trial.row["seed"] for trial in tuning.trials} == {100, 101}
    assert {(trial.row["eval_on"], trial.row["validation"]) for trial in tuning.trials} == {("validation", 100)}
    assert {trial.row["num_tasks"] for trial in tuning.trials} == {2}
    assert not measuring.trials
    assert {(trial.row["eval_on"], trial.row["validation"]) for trial in measuring.to_come} == {("test", 0)}
    assert {(trial.row["seed"], trial.row["num_tasks"]) for trial in measuring.to_come} == {(0, 3), (1, 3)}


def test_a_tenth_of_the_training_images_is_the_usual_part() -> None:
    ((tuning, _), _) = stages(grid(tune={"seeds": [100]}))
    assert {trial.row["validation"] for trial in tuning.trials} == {143}


def test_a_random_search_tries_as_many_as_it_says_and_all_where_there_are_no_more() -> None:
    (tuning, _), _ = stages(spec_of())
    none = [trial.row["lr"] for trial in tuning.trials if trial.row["protect"] == "none" and trial.row["width"] == 4]
    ewc = [trial for trial in tuning.trials if trial.row["protect"] == "ewc" and trial.row["width"] == 4]
    assert sorted(none) == LRS
    assert len({(trial.row["lr"], trial.row["protect_strength"]) for trial in ewc}) == 4
    assert {trial.row["lr"] for trial in ewc} == set(LRS)  # each once before any comes again
    assert all(0.1 <= trial.row["protect_strength"] <= 1000 for trial in ewc)


def test_draws_are_spread_over_the_range_and_rounded() -> None:
    choice = Choice("log_uniform", (1e-4, 1.0))
    drawn = [choice.drawn("lr", index) for index in range(400)]
    assert all(float(f"{value:.3g}") == value for value in drawn)
    logs = [math.log10(value) for value in drawn]
    assert sum(logs) / 400 == pytest.approx(-2, abs=0.2)
    assert sum(value < 1e-3 for value in drawn) == pytest.approx(100, abs=35)
    for start in range(0, 400, 4):  # whatever the number of trials, each quarter comes before any comes again
        assert sorted(int(log + 4) for log in logs[start : start + 4]) == [0, 1, 2, 3]
    assert all(isinstance(Choice("uniform", (1, 9)).drawn("depth", index), int) for index in range(9))


def test_the_best_of_each_cell_is_measured() -> None:
    every, found = stages(grid(), good_at(0.01))
    assert [each.best.values for each in found] == [{"lr": 0.01}] * 2
    assert {trial.row["lr"] for trial in every[-1].trials} == {0.01}
    assert sizes(grid(), good_at(0.01)) == [("tuning", 12, 0), ("measuring", 4, 0)]


def test_a_cell_that_is_not_tuned_yet_is_still_to_come() -> None:
    assert sizes(grid(), good_at(0.01, unknown=[8])) == [("tuning", 12, 0), ("measuring", 2, 2)]
    _, found = stages(grid(), good_at(0.01, unknown=[8]))
    assert [each.cell["width"] for each in found] == [4]


def test_the_mean_over_seeds_counts_and_the_first_of_equals_is_taken() -> None:
    def score(trials: Sequence[Experiment]) -> list[float | None]:
        table = {
            (0.001, 100): 0.9,
            (0.001, 101): 0.1,
            (0.01, 100): 0.6,
            (0.01, 101): 0.6,
            (0.1, 100): 0.6,
            (0.1, 101): 0.6,
        }
        return [table[trial.row["lr"], trial.row["seed"]] for trial in trials]

    _, found = stages(grid(), score)
    assert [each.best.values["lr"] for each in found] == [0.01, 0.01]
    assert found[0].best.accuracy == pytest.approx(0.6)


def test_a_variant_with_nothing_to_choose_is_measured_without_tuning() -> None:
    spec = spec_of(settings={**TINY["settings"], "lr": 0.01})
    every, _ = stages(spec, good_at(0.01))
    assert {trial.row["protect"] for trial in every[0].trials} == {"ewc"}
    assert {trial.row["protect"] for trial in every[1].trials} == {"none", "ewc"}


def test_measured_trials_may_differ_in_settings_too() -> None:
    spec = grid(measure={"seeds": [7], "settings": {"num_tasks": 5, "validation": 100}})
    every, _ = stages(spec, good_at(0.1))
    assert {(trial.row["num_tasks"], trial.row["validation"]) for trial in every[-1].trials} == {(5, 100)}
    assert {trial.row["num_tasks"] for trial in every[0].trials} == {2}


# --set and --small


def test_set_puts_a_value_in_place_of_a_choice() -> None:
    spec = spec_of().with_values(["lr=0.02"])
    assert {trial.row["lr"] for trial in spec.trials()} == {0.02}
    assert sizes(spec)[0] == ("tuning", 8, 0)
    fixed = spec_of().with_values(["protect_strength=3,4"])
    assert {trial.row["protect_strength"] for trial in fixed.trials()} == {3.0, 4.0}
    assert {type(choice) for cell in fixed.cells() for choice in [cell["lr"]]} == {Choice}


def test_a_study_of_which_nothing_is_left_to_choose_is_not_tuned() -> None:
    spec = grid(measure={"seeds": [3], "settings": {"depth": 1}}).with_values(["lr=0.02"])
    assert spec.tune is None
    assert sizes(spec) == [("", 2, 0)]
    assert {(trial.row["depth"], trial.row["seed"]) for trial in spec.trials()} == {(1, 3)}


def test_set_reaches_the_block() -> None:
    spec = spec_of().with_values(["tune.trials=2", "tune.seeds=50,51", "tune.num_tasks=1"])
    (tuning, _), _ = stages(spec)
    assert {(trial.row["seed"], trial.row["num_tasks"]) for trial in tuning.trials} == {(50, 1), (51, 1)}
    assert len(tuning.trials) == 2 * 2 * 2 * 2
    with pytest.raises(StudyError, match="'tirals' is not a setting"):
        spec_of().with_values(["tune.tirals=2"])
    with pytest.raises(StudyError, match="no block 'tune'"):
        spec_of().with_values(["lr=0.1", "protect_strength=1"]).with_values(["tune.trials=2"])


def test_the_small_form_says_what_differs_of_the_blocks() -> None:
    small = {
        "tune": {"trials": 2, "settings": {"steps_per_task": 3}},
        "measure": {"seeds": [5]},
        "axes": {"width": [4]},
    }
    spec = spec_of(small=small).reduced()
    assert spec.tune
    assert (spec.tune.trials, spec.tune.seeds, spec.seeds) == (2, [100], [5])
    assert spec.tune.settings == {"num_tasks": 2, "steps_per_task": 3}


# Beside a store


def train(spec: StudySpec, out: Path, most: int = 1000) -> TrialStore:
    """Run a study stage by stage in this process, without Ray, and stop after so many packs."""
    store, left = TrialStore(str(out)), most
    store.claim(spec, {})
    number = 0
    while number < len(every := by_stage(spec, Stored.of(store))[0]):
        for pack in without(make_packs(merge(every[number].trained)), every[number].done()):
            if not left:
                return store
            run = PackRun(Job(study=spec.name, pack=pack, store=store.uri), load_dataset("digits"))
            while not run.step()["done"]:
                pass
            left -= 1
        number += 1
    stored = Stored.of(store)
    store.files.write(RECORD, record(spec, by_stage(spec, stored)[1], stored))
    return store


def told(spec: StudySpec, store: TrialStore) -> tuple[list[str], dict[str, str], object]:
    now = standing(spec, store)
    _, found = by_stage(spec, stored := Stored.of(store))
    finished = {name: one.status for name, one in stored.finished.items()}
    return [*explained(now), *chosen_lines(spec, found)], finished, json.loads(store.files.read(RECORD))


def test_a_run_that_was_stopped_anywhere_ends_the_same(tmp_path: Path) -> None:
    spec = spec_of(axes={"width": [4]})
    whole = train(spec, tmp_path / "whole")
    for most in (1, 3):
        train(spec, tmp_path / str(most), most)
        again = train(spec, tmp_path / str(most))
        assert told(spec, again) == told(spec, whole)
    now = whole_standing(spec, whole)
    assert not now.to_come
    assert now.count("ok", "diverged") == len(now.planned) == 3 + 4 + 2 * 2


def test_the_record_names_the_trials_in_the_store(tmp_path: Path) -> None:
    spec = grid()
    store = train(spec, tmp_path / "out")
    content = json.loads(store.files.read(RECORD))
    named = {name for cell in content["cells"] for name in cell["measured"]}
    named |= {name for cell in content["cells"] for tried in cell["tried"] for name in tried["trials"]}
    assert named == set(Stored.of(store).finished)
    means, stored = store.accuracies(), Stored.of(store)
    every, found = by_stage(spec, stored)
    for each in found:
        best = max(sum(means[trial, 2] for trial in _ids(tried.trials, stored)) / 2 for tried in each.tried)
        assert each.best.accuracy == pytest.approx(best)
    assert [stage.name for stage in every] == ["tuning", "measuring"]


def _ids(trials: Sequence[Experiment], stored: Stored) -> list[str]:
    return [stored.id_of(planned) for planned in stored.beside(trials)]


def test_the_record_keeps_what_other_runs_chose_and_measured(tmp_path: Path) -> None:
    spec = grid(axes={"width": [4, 8]})
    train(spec, tmp_path / "out")
    store = train(spec.with_values(["width=4", "seeds=7"]), tmp_path / "out")
    narrow, wide = json.loads(store.files.read(RECORD))["cells"]
    assert (narrow["cell"]["width"], len(narrow["measured"])) == (4, 3)
    assert (wide["cell"]["width"], len(wide["measured"])) == (8, 2)


def test_a_trial_that_diverged_counts_as_chance(tmp_path: Path) -> None:
    settings = {**TINY["settings"], "optimiser": "sgd", "momentum": 0.9, "lr": {"choice": [0.01, 3000.0]}}
    spec = grid(settings=settings, axes={"width": [4]})
    store = train(spec, tmp_path / "out")
    (found,) = by_stage(spec, Stored.of(store))[1]
    assert {tried.values["lr"]: tried.accuracy for tried in found.tried}[3000.0] == pytest.approx(0.1)


def test_a_longer_stored_trial_answers_a_tuning_trial(tmp_path: Path) -> None:
    longer, shorter = (grid(tune={"seeds": [100], "validation": 100, "settings": {"num_tasks": k}}) for k in (3, 2))
    store = train(longer, tmp_path / "out")
    now, found = by_stage(shorter, Stored.of(store))
    assert now[0].count("ok") == 6
    means = store.accuracies()
    planned = Stored.of(store).beside(found[0].best.trials)
    assert found[0].best.accuracy == pytest.approx(means[planned[0].answer or "", 2])


def test_the_plan_counts_what_is_to_come(tmp_path: Path) -> None:
    every, _ = by_stage(grid(), Stored.of(TrialStore(str(tmp_path / "none"))))
    assert next(explained(every[1])) == "  trials   0 planned, 0 to do; 4 more when their settings are chosen"
    assert len(every[1].foreseen().planned) == 4


def test_a_best_value_at_an_end_is_noted() -> None:
    spec = grid()
    for lr, end in ((0.001, "lowest"), (0.1, "highest")):
        lines = list(chosen_lines(spec, stages(spec, good_at(lr))[1]))
        assert f"chose lr={lr} for binary width=4 (best of 3, accuracy 1.000 on validation images)" in lines
        assert any(line.startswith(f"  note: lr={lr} is at the {end} end") for line in lines)
    assert not any("note" in line for line in chosen_lines(spec, stages(spec, good_at(0.01))[1]))


@pytest.mark.parametrize(
    ("choice", "value", "end"),
    [
        (Choice("log_uniform", (1e-4, 1.0)), 1.2e-4, "lowest"),
        (Choice("log_uniform", (1e-4, 1.0)), 0.9, "highest"),
        (Choice("log_uniform", (1e-4, 1.0)), 0.01, None),
        (Choice("uniform", (0.0, 1.0)), 0.04, "lowest"),
        (Choice("choice", ("adam", "sgd", "rmsprop")), "adam", None),
        (Choice("choice", (1, 2)), 1, None),  # of two values each is at an end
    ],
)
def test_where_an_end_is(choice: Choice, value: object, end: str | None) -> None:
    assert choice.edge(value) == end


# Optuna


def optuna_spec() -> StudySpec:
    settings = {**TINY["settings"], "lr": {"log_uniform": [0.0001, 1.0]}}
    tune = {"search": "optuna", "trials": 10, "rounds": 3, "seeds": [100], "validation": 100}
    return spec_of(variants=None, settings=settings, tune=tune, axes={"width": [4]})


def test_optuna_is_asked_in_rounds_and_asked_again_proposes_the_same() -> None:
    spec = optuna_spec()
    assert sizes(spec) == [
        ("tuning, round 1 of 3", 0, 3),
        ("tuning, round 2 of 3", 0, 3),
        ("tuning, round 3 of 3", 0, 4),
        ("measuring", 0, 2),
    ]
    first, again = (stages(spec, good_at(0.02)) for _ in range(2))
    assert first == again
    every, (found,) = first
    assert [len(stage.trials) for stage in every] == [3, 3, 4, 2]
    assert all(0.0001 <= trial.row["lr"] <= 1 for stage in every for trial in stage.trials)
    assert found.best.accuracy == max(tried.accuracy for tried in found.tried)
    assert len(found.tried) == 10


def test_optuna_waits_for_the_results_of_a_round() -> None:
    spec, unknown = optuna_spec(), stages(optuna_spec(), good_at(0.02, unknown=[4]))[0]
    assert [(len(stage.trials), len(stage.to_come)) for stage in unknown] == [(3, 0), (0, 3), (0, 4), (0, 2)]
    first: Stage = stages(spec, good_at(0.5))[0][0]
    assert unknown[0].trials == first.trials

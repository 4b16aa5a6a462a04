from collections.abc import Mapping
from pathlib import Path

import pandas as pd
import pytest

import study
from analysis.experiments import settings_apart
from analysis.old_stores import RENAMED_SCHEDULES, WHOLE_SCHEDULES, WHOLE_STREAMS, completed
from analysis.plot import strata, suffix_of
from analysis.store import read_store, relabelled
from analysis.tables import best_lr, mean_accuracy
from psp_core.schedules import SCHEDULES
from psp_core.streams import STREAMS
from psp_core.trial import TrialConfig
from study.plan import merge
from study.spec import StudySpec, parse_yaml
from tests.analysis.rows import row_of
from tests.conftest import run_here, small_study

BATCHE = {"context": "binary", "learned_contexts": True, "output_contexts": True, "trunk": "first-task"}
VARIANTS = {
    "complex": {"context": "complex"},
    "complex, local-mix": {"context": "complex", "schedule": "local-mix"},
    "complex x5": {"context": "complex", "contexts_per_task": 5},
    "complex x5, local-mix": {"context": "complex", "contexts_per_task": 5, "schedule": "local-mix"},
    "none": {"context": "none"},
    "none, head per task": {"context": "none", "heads": "per-task"},
}
INFERRED = {
    "binary": {"context": "binary"},
    "binary, entropy-one-shot": {"context": "binary", "task_inference": "entropy-one-shot"},
    "binary, entropy-one-shot, first layer, of 16": {
        "context": "binary", "task_inference": "entropy-one-shot", "inference_images": 16, "inference_layers": "first",
    },
    "binary, entropy-one-shot, shared labels": {
        "context": "binary", "task_inference": "entropy-one-shot", "shared_labels": True,
    },
    "binary +9": {"context": "binary", "superfluous": 9},
    "complex, superfluous-gradient-descent, 3 x 0.05 +9": {
        "context": "complex", "task_inference": "superfluous-gradient-descent", "superfluous": 9, "inference_lr": 0.05,
        "inference_steps": 3,
    },
    "supsup, entropy-exhaustive +9": {
        "method": "supsup", "context": "none", "superfluous": 9, "task_inference": "entropy-exhaustive",
    },
}  # fmt: skip

HOPFIELD = {
    "hopsupsup, storkey": {"method": "hopsupsup", "context": "none"},
    "hopsupsup, hebb": {"method": "hopsupsup", "context": "none", "hopfield_rule": "hebb"},
    "hopsupsup, storkey, layer-by-layer, lr 100, gamma 0.006": {
        "method": "hopsupsup", "context": "none", "recovery_order": "layer-by-layer", "recovery_lr": 100,
        "recovery_gamma": 0.006,
    },
}  # fmt: skip


def variants_store(out: Path, variants: dict[str, dict[str, object]] = VARIANTS, **settings: object) -> Path:
    content = {**small_study().settings, "width": 4, **settings}
    run_here(small_study(axes={}, variants=list(variants.values()), settings=content), out)
    return out


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return variants_store(tmp_path_factory.mktemp("stores") / "variants")


def label_of(settings: Mapping[str, object]) -> str:
    return str(completed(pd.DataFrame([{"stream": "permuting", **settings}]))["curve"].iloc[0])


def suffixes(evals: pd.DataFrame) -> list[str]:
    return [suffix_of(where) for where, _ in strata(evals)]


@pytest.mark.parametrize(
    ("settings", "label"),
    [
        (("complex", 1, "task", "shared"), "complex"),
        (("complex", 1, "local-mix", "shared"), "complex, local-mix"),
        (("complex", 100, "task", "shared"), "complex x100"),
        (("complex", 100, "local-mix", "shared"), "complex x100, local-mix"),
        (("none", 1, "task", "per-task"), "none, head per task"),
    ],
)
def test_a_label_says_what_is_unusual_about_a_curves_contexts(settings: tuple[object, ...], label: str) -> None:
    names = ["context", "contexts_per_task", "schedule", "heads"]
    assert label_of(dict(zip(names, settings, strict=True))) == label


RIVALS = {
    "batche": BATCHE,
    "batche, trunk random": {**BATCHE, "trunk": "random"},
    "batche, trunk shared": {**BATCHE, "trunk": "shared"},
    "batche gaussian, head per task": {**BATCHE, "context": "gaussian", "heads": "per-task"},
    "batche, by channel": {**BATCHE, "model": "small-conv", "channel_contexts": True},
    "binary, by channel": {"context": "binary", "model": "small-conv", "channel_contexts": True},
    "binary, outputs too": {"context": "binary", "output_contexts": True},
    "binary, trunk first-task": {**BATCHE, "output_contexts": False},
    "none, head per task, trunk first-task": {"context": "none", "heads": "per-task", "trunk": "first-task"},
    "none, head per task, trunk random": {"context": "none", "heads": "per-task", "trunk": "random"},
    "none, head per task": {"context": "none", "heads": "per-task"},
    "none, net per task": {"context": "none", "trunk": "per-task"},
    "supsup, head per task": {"method": "supsup", "context": "none", "heads": "per-task"},
}


@pytest.mark.parametrize("label", RIVALS)
def test_a_label_says_what_trains_the_trunk_and_whether_weights_have_factors_of_rank_one(label: str) -> None:
    assert label_of(row_of(TrialConfig(**RIVALS[label], dataset="digits"))) == label


def test_rules_and_recoveries_of_hopsupsup_are_curves_of_one_figure(tmp_path: Path) -> None:
    out = variants_store(tmp_path / "out", {**HOPFIELD, "none": {"context": "none"}})
    stored = read_store(str(out))
    assert set(stored.evals["context"].unique()) == {*HOPFIELD, "none"}
    assert suffixes(stored.evals) == [""]
    measured = pd.concat(map(pd.read_parquet, (out / "evals").iterdir())).merge(stored.trials, on="trial_id")
    recovered = measured["method"] == "hopsupsup"
    assert measured["mask_agreement"].notna().equals(recovered)
    assert measured.loc[recovered, "mask_agreement"].between(0, 1).all()
    assert set(measured.loc[recovered, "inferred"]) <= {0.0, 1.0}


def rivals_store(out: Path, *variants: dict[str, object]) -> pd.DataFrame:
    settings = {**small_study().settings, "width": 4, "num_tasks": 2}
    settings = {key: value for key, value in settings.items() if not any(key in variant for variant in variants)}
    run_here(small_study(axes={}, variants=list(variants), settings=settings), out)
    return read_store(str(out)).evals


ADAM = {"optimiser": "adam", "lr": 0.01, "weight_decay": 1e-4}
OF_PAPER = [
    {**BATCHE, **ADAM, "later_lr": 0.1},
    {**RIVALS["none, head per task, trunk random"], **ADAM},
    {**RIVALS["none, net per task"], "lr": 0.01},
    {**RIVALS["none, head per task"], "lr": 0.01},
    {"context": "none", "method": "supsup", "superfluous": 5, "lr": 0.01},
]


def test_rivals_stand_in_the_others_figure_though_each_is_trained_in_its_own_way(tmp_path: Path) -> None:
    evals = rivals_store(tmp_path / "out", *OF_PAPER)
    assert evals["optimiser"].nunique() == 2
    ((where, whole),) = strata(evals)
    assert where == {}
    assert set(whole["context"]) == {
        "batche", "none, head per task, trunk random", "none, net per task", "none, head per task", "supsup +5",
    }  # fmt: skip


@pytest.mark.parametrize("name", ["supsup-split-cifar-100", "supsup-rivals-mnist", "incremental-cifar"])
def test_what_a_shipped_study_compares_stands_in_one_figure(name: str) -> None:
    """Though its networks begin and are normalised each as in the paper."""
    text = (Path(study.__file__).parent / "studies" / f"{name}.yaml").read_text()
    spec = StudySpec.from_mapping(parse_yaml(text, name))
    for trials in (merge(spec.trials()), merge(spec.reduced().trials())):
        rows = relabelled(completed(pd.DataFrame([row_of(trial) for trial in trials])))
        shown = ["trial_id", "context", "width", "stream_tasks", *settings_apart(rows)]
        assert suffixes(rows[shown]) == [""]


def test_rivals_alone_stand_in_one_figure(tmp_path: Path) -> None:
    assert suffixes(rivals_store(tmp_path / "out", *OF_PAPER[:3])) == [""]


def test_a_rival_that_was_trained_in_two_ways_is_never_averaged_over_them(tmp_path: Path) -> None:
    other = {**OF_PAPER[0], "later_lr": 0.2}
    evals = rivals_store(tmp_path / "out", *OF_PAPER, other)
    assert suffixes(evals) == ["-later_lr=0.1", "-later_lr=0.2", "-later_lr=default"]


def test_others_of_two_optimisers_have_two_figures_and_each_rival_stands_in_its_own(tmp_path: Path) -> None:
    evals = rivals_store(tmp_path / "out", *OF_PAPER[1:4], {**OF_PAPER[3], "optimiser": "adam"})
    groups = {suffix_of(where): set(group["context"]) for where, group in strata(evals)}
    assert groups == {
        "-optimiser=adam": {"none, head per task, trunk random", "none, head per task"},
        "-optimiser=rmsprop": {"none, net per task", "none, head per task"},
    }


def test_trained_contexts_still_tell_figures_apart(tmp_path: Path) -> None:
    evals = rivals_store(
        tmp_path / "out", {"context": "binary", "lr": 0.01}, {**BATCHE, "output_contexts": False, "trunk": "shared"}
    )
    assert suffixes(evals) == ["-learned_contexts=False", "-learned_contexts=True"]


def test_trials_that_differ_in_heads_contexts_per_task_or_schedule_are_curves_of_one_figure(store: Path) -> None:
    stored = read_store(str(store))
    assert set(stored.evals["context"].unique()) == set(VARIANTS)
    assert suffixes(stored.evals) == [""]
    assert not {"heads", "contexts_per_task", "schedule", "trunk", "output_contexts"} & set(
        settings_apart(stored.trials)
    )


def test_a_label_says_how_the_task_is_inferred_by_masks_or_by_contexts(tmp_path: Path) -> None:
    stored = read_store(str(variants_store(tmp_path / "out", INFERRED)))
    assert set(stored.evals["context"].unique()) == set(INFERRED)
    asked = stored.trials.set_index("trial_id")["task_inference"] != "given"
    assert asked.sum() == 5 * 2  # seeds
    assert (stored.trials["shared_labels"].sum(), stored.trials["inference_steps"].notna().sum()) == (2, 2)


def test_nothing_averages_trials_with_different_labels(store: Path) -> None:
    stored = read_store(str(store))
    means = mean_accuracy(best_lr(stored.evals))
    last = means[means["tasks_seen"] == 3].set_index("trial_id")["accuracy"]
    assert len(last) == len(VARIANTS) * 2  # seeds
    final = stored.trials.set_index("trial_id")["final_accuracy"]
    assert last.to_dict() == pytest.approx(final.to_dict())


def test_names_are_categories_beside_millions_of_measurements(store: Path) -> None:
    assert read_store(str(store)).evals["context"].dtype == "category"


def test_what_depends_on_the_number_of_tasks_is_said_by_the_trials_and_by_names_where_they_are_older(
    tmp_path: Path,
) -> None:
    assert all(not STREAMS[name].is_nested for name in WHOLE_STREAMS)
    assert all(not SCHEDULES[name].is_nested for name in WHOLE_SCHEDULES)
    assert set(RENAMED_SCHEDULES.values()) <= set(SCHEDULES)
    trials = pd.DataFrame(
        {
            "stream": ["rotating", "permuting", "of-somebody-else", "rotating"],
            "schedule": ["task", "cosine", "of-somebody-else", "task"],
            "nested_tasks": [None, None, False, True],
            "nested_contexts": [None, None, False, True],
        }
    )
    known = completed(trials.assign(context="none"))
    assert known["schedule"].tolist() == ["task", "blend", "of-somebody-else", "task"]
    assert known["nested_tasks"].tolist() == [False, True, False, True]
    assert known["nested_contexts"].tolist() == [True, False, False, True]
    rotating = {**small_study().settings, "stream": "rotating"}
    stored = read_store(str(run_here(small_study(settings=rotating), tmp_path / "out").uri)).trials
    assert not stored["nested_tasks"].any()
    assert stored["nested_contexts"].all()


def test_fewer_tasks_are_another_trial_where_the_contexts_in_use_depend_on_them(tmp_path: Path) -> None:
    for num_tasks in (2, 3):
        variants_store(tmp_path / "out", num_tasks=num_tasks)
    evals = read_store(str(tmp_path / "out")).evals
    mixed = {f"{label}, {k} tasks" for label in ("complex, local-mix", "complex x5, local-mix") for k in (2, 3)}
    assert set(evals["context"].unique()) == mixed | {label for label in VARIANTS if "local-mix" not in label}
    assert evals.loc[evals["context"] == "complex", "num_tasks"].unique().tolist() == [3]


TOLD_NOTHING = {
    "method": "supsup",
    "context": "none",
    "new_mask_eps": 0.1,
    "steps_per_decision": 5,
    "shared_labels": True,
    "task_inference": "entropy-one-shot",
}


@pytest.mark.parametrize("whole", [{"stream": "rotating"}, TOLD_NOTHING])
def test_trials_that_depend_on_the_number_of_tasks_as_a_whole_have_figures_of_their_own(
    tmp_path: Path, whole: dict[str, object]
) -> None:
    for num_tasks in (2, 4):
        settings = {**small_study().settings, **whole, "num_tasks": num_tasks}
        run_here(small_study(axes={"width": [4, 8]}, settings=settings), tmp_path / "out")
    groups = strata(read_store(str(tmp_path / "out")).evals)
    assert {suffix_of(where): group["num_tasks"].unique().tolist() for where, group in groups} == {
        "-stream_tasks=2": [2],
        "-stream_tasks=4": [4],
    }

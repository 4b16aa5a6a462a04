"""Analysis goes by what a store says of its curves and experiments: also of settings nobody has heard of."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from analysis import old_stores
from analysis.compare import compare_store
from analysis.experiments import settings_apart
from analysis.figures import BY_SETTING, FIGURES
from analysis.figures.layout import caption_of
from analysis.labels import labelled_settings, labels_without
from analysis.plot import experiments, plot_store, strata, suffix_of, with_roles
from analysis.store import StoreError, read_store
from psp_core.trial import TrialConfig
from tests.analysis.rows import row_of
from tests.analysis.test_compare import PERMUTING

Row = dict[str, object]


def old_row(**settings: object) -> Row:
    """A trial's row as stores had them before they said anything of curves."""
    own = {"method": "psp", "dataset": "digits", "width": 8, "num_tasks": 3, "lr": 1e-4, "seed": 0}
    return {**old_stores.DEFAULTS, **dict.fromkeys(old_stores.MOMENTS), **own, **settings}


def row(pieces: Mapping[str, str], experiment: Mapping[str, object] | None = None, **columns: object) -> Row:
    """A trial's row as stores have them now; `columns` are settings, of today and of tomorrow."""
    return {
        **old_row(**{"context": "none", **columns}),
        "curve": "".join(pieces.values()),
        "curve_of": json.dumps(dict(pieces), separators=(",", ":")),
        "experiment": json.dumps({"dataset": "digits", **(experiment or {})}, sort_keys=True, separators=(",", ":")),
        "nested_tasks": True,
        "nested_contexts": True,
    }


def write(out: Path, *files: Sequence[Row]) -> str:
    """A store of these files, each trial with accuracies of its own."""
    for folder in ("trials", "evals"):
        (out / folder).mkdir(parents=True, exist_ok=True)
    for rows in files:
        place = len(list((out / "trials").iterdir()))
        sizes = {"num_params": 100, "context_bytes_per_task": 8, "total_bytes": 500}
        trials = [{"trial_id": f"{place}-{n}", "status": "ok", **sizes, **trial} for n, trial in enumerate(rows)]
        evals = [
            {"trial_id": trial["trial_id"], "tasks_seen": seen, "task": task, "accuracy": 0.9 - 0.01 * (n + seen)}
            for n, trial in enumerate(trials)
            for seen in (1, 2, 3)
            for task in range(seen)
        ]
        pq.write_table(pa.Table.from_pylist(trials), out / "trials" / f"{place}.parquet")
        pq.write_table(pa.Table.from_pylist(evals), out / "evals" / f"{place}.parquet")
    return str(out)


NONE = {"context": "none"}


def ewc(strength: float) -> dict[str, str]:
    return {"context": "none", "protect": ", ewc", "strength": f" {strength:g}"}


def suffixes(out: str) -> list[str]:
    return [suffix_of(where) for where, _ in strata(read_store(out).evals)]


# Settings that are younger than this version


def test_a_setting_nobody_has_heard_of_splits_figures_and_is_never_dropped(tmp_path: Path) -> None:
    rows = [row(NONE, {"damping": value} if value != 1 else {}, damping=value) for value in (1.0, 2.0, 3.0)]
    out = write(tmp_path, rows)
    assert read_store(out).evals["trial_id"].nunique() == 3
    assert suffixes(out) == ["-damping=1", "-damping=2", "-damping=3"]
    assert with_roles(read_store(out)).roles.x == ("damping",)
    assert any("accuracy-by-damping.png" in line for line in plot_store(out))


def test_a_new_setting_that_has_no_column_is_read_from_the_experiment(tmp_path: Path) -> None:
    out = write(tmp_path, [row(NONE), row(NONE, {"damping": 2.0})])
    assert sorted(suffixes(out)) == ["-damping=2", "-damping=default"]


def test_a_setting_younger_than_some_files_has_its_default_there(tmp_path: Path) -> None:
    younger = [row(NONE, damping=1.0, seed=1), row(NONE, {"damping": 2.0}, damping=2.0)]
    out = write(tmp_path, [row(NONE), old_row(context="none", seed=2)], younger)
    values = read_store(out).evals.groupby("damping")["trial_id"].nunique()
    assert values.to_dict() == {1.0: 3, 2.0: 1}


def test_what_a_label_says_is_an_axis_and_leaves_the_label_where_a_figure_runs_over_it(tmp_path: Path) -> None:
    rows = [row(ewc(value), strength=value, protect="ewc") for value in (10.0, 100.0, 1000.0)]
    out = write(tmp_path, [*rows, row(NONE, strength=None, protect="none")])
    whole = with_roles(read_store(out))
    assert whole.roles.x == ("strength",)
    assert set(whole.evals["context"]) == {"none", "none, ewc 10", "none, ewc 100", "none, ewc 1000"}
    ((_, measured),) = experiments(whole, ["strength"])
    figure = BY_SETTING["accuracy-by"](measured, "strength")
    assert {bar.get_label() for bar in figure.axes[0].containers} == {"none, ewc"}


def test_labels_without_a_setting_are_the_other_pieces_and_whole_where_they_would_be_alike() -> None:
    curves = [
        {"context": "complex", "contexts_per_task": " x100", "schedule": ", local-mix"},
        {"method": "supsup", "masks": ", top-k", "sparsity": " 8", "superfluous": " +90"},
        {"method": "supsup", "masks": ", top-k", "sparsity": " 4", "superfluous": " +90"},
        {"context": "none", "strength": ", ewc 10"},
    ]
    trials = pd.DataFrame([row(pieces, sparsity=None) for pieces in curves])
    trials["sparsity"] = [None, 8.0, 4.0, None]
    trials["strength"] = [None, None, None, 10.0]
    assert labels_without(trials, ["sparsity", "method", "context"]) == [
        "complex x100, local-mix", "supsup, top-k +90", "supsup, top-k +90", "none, ewc 10",
    ]  # fmt: skip
    assert labels_without(trials, ["contexts_per_task"])[0] == "complex, local-mix"
    hidden = trials.assign(sparsity=8.0)  # of which nothing but the label tells the two apart
    assert labels_without(hidden, ["sparsity"])[1:3] == ["supsup, top-k 8 +90", "supsup, top-k 4 +90"]
    assert set(labelled_settings(trials)) == {
        "contexts_per_task", "schedule", "method", "masks", "sparsity", "superfluous", "strength",
    }  # fmt: skip


def test_what_a_label_says_does_not_split_figures_by_the_same_setting(tmp_path: Path) -> None:
    """As of BatchE, whose contexts are trained: beside contexts of inputs that are, or are not."""
    batche = {"context": "batche", "learned_contexts": "", "output_contexts": ""}
    rows = [
        row(batche, context="binary", learned_contexts=True, output_contexts=True),
        row({"context": "binary"}, context="binary"),
        row({"context": "binary"}, {"learned_contexts": True}, context="binary", learned_contexts=True),
    ]
    store = read_store(write(tmp_path, rows))
    groups = {where["learned_contexts"]: set(evals["context"]) for where, evals in strata(store.evals)}
    assert groups == {False: {"batche", "binary"}, True: {"binary"}}


# Stores that are older than the three columns


OLD_AND_NEW = [
    ({"context": "complex"}, {"context": "complex"}),
    ({"context": "none", "heads": "per-task"}, {"context": "none", "heads": ", head per task"}),
    (
        {"context": "binary", "learned_contexts": True, "output_contexts": True, "trunk": "first-task"},
        {"context": "batche", "output_contexts": "", "trunk": "", "learned_contexts": ""},
    ),
    (
        {"method": "supsup", "context": "none", "masks": "top-k", "sparsity": 8.0, "superfluous": 90},
        {"method": "supsup", "masks": ", top-k", "sparsity": " 8", "superfluous": " +90"},
    ),
    (
        {"method": "hopsupsup", "context": "none"},
        {"method": "hopsupsup", "hopfield_rule": ", storkey"},
    ),
]


@pytest.mark.parametrize(("settings", "pieces"), OLD_AND_NEW)
def test_an_old_row_and_a_new_one_of_the_same_settings_say_the_same(settings: Row, pieces: dict[str, str]) -> None:
    old = old_stores.completed(pd.DataFrame([old_row(**settings)]))[old_stores.DESCRIBED].iloc[0]
    new = row(pieces, **settings)
    assert old["curve"] == new["curve"]
    assert old["curve_of"] == new["curve_of"]
    assert old["experiment"] == new["experiment"] == '{"dataset":"digits"}'


@pytest.mark.parametrize(("settings", "pieces"), OLD_AND_NEW)
def test_files_of_both_times_are_one_curve(tmp_path: Path, settings: Row, pieces: dict[str, str]) -> None:
    """And a trial that stands in both, by whatever id, counts once."""
    new = [row(pieces, seed=seed, **settings) for seed in (1, 2)]
    out = write(tmp_path, [old_row(seed=0, **settings), old_row(seed=1, **settings)], new)
    evals = read_store(out).evals
    assert evals["context"].unique().tolist() == ["".join(pieces.values())]
    assert sorted(evals.drop_duplicates("trial_id")["seed"]) == [0, 1, 2]
    assert suffixes(out) == [""]


def test_an_old_row_says_all_that_is_not_as_usual_in_the_types_of_the_settings() -> None:
    settings: Row = {
        "context": "none", "dataset": "cifar-100", "stream": "split", "classes_per_task": 5, "model": "small-conv",
        "optimiser": "sgd", "momentum": 0.9, "later_lr": None, "eval_samples": 1000, "norm": "affine", "lr": 0.5,
        "steps_per_task": 7, "width": 3, "seed": 4, "num_tasks": 20, "eval_every": 7,
    }  # fmt: skip
    frame = pd.DataFrame([old_row(**settings), old_row()])  # whose nulls make floats of whole numbers
    (found, usual) = old_stores.completed(frame)["experiment"]
    assert usual == '{"dataset":"digits"}'
    assert found == (
        '{"classes_per_task":5,"dataset":"cifar-100","eval_samples":1000,"model":"small-conv","momentum":0.9,'
        '"norm":"affine","optimiser":"sgd","steps_per_task":7,"stream":"split"}'
    )


def test_defaults_of_old_stores_are_those_that_trials_still_have() -> None:
    now = row_of(TrialConfig())
    assert {name: now[name] for name in old_stores.DEFAULTS} == old_stores.DEFAULTS
    assert not set(old_stores.DEFAULTS) & {"width", "lr", "seed", "num_tasks", "milestones", "eval_every", "eval_from"}


# What belongs to curves, and what splits figures


def variant(context: str, **experiment: object) -> Row:
    return row({"context": context}, experiment, context=context, **experiment)


def test_what_each_curve_has_one_value_of_belongs_to_the_curve_and_the_caption_says_so(tmp_path: Path) -> None:
    out = write(tmp_path, [variant("none"), variant("binary", momentum=0.9), variant("complex")])
    ((where, measured),) = ((suffix, one) for suffix, one in experiments(with_roles(read_store(out))))
    assert where == ""
    text = caption_of(FIGURES["capacity"](measured))
    assert "By curve: momentum 0.9 (binary); else 0." in text


def test_a_setting_of_which_one_curve_has_two_values_splits_them_all(tmp_path: Path) -> None:
    out = write(tmp_path, [variant("none"), variant("binary"), variant("binary", momentum=0.9)])
    groups = {where["momentum"]: set(evals["context"]) for where, evals in strata(read_store(out).evals)}
    assert groups == {0.0: {"none", "binary"}, 0.9: {"binary"}}


@pytest.mark.parametrize("problem", [{"dataset": "mnist"}, {"stream": "rotating", "dataset": "digits"}])
def test_curves_of_two_problems_never_stand_in_one_figure(tmp_path: Path, problem: dict[str, object]) -> None:
    out = write(tmp_path, [variant("none"), variant("binary", **problem)])
    assert len(suffixes(out)) == 2


def test_comparisons_tell_apart_what_the_papers_settings_do_not_say(tmp_path: Path) -> None:
    settings = {name: value for name, value in PERMUTING.items() if name != "status"}
    experiment = {"dataset": "mnist"}
    rows = [
        row({"context": "binary"}, {**experiment, **more}, **{**settings, "num_tasks": 3, "damping": damping})
        for damping, more in ((1.0, {}), (2.0, {"damping": 2.0}))
    ]
    one, other = compare_store(write(tmp_path, rows))
    assert one.where == {"damping": 1.0}
    assert other.where == {"damping": 2.0}
    assert "ours: 1 seed, damping 2." in other.table()
    assert one.slug != other.slug


def test_retrieval_is_split_by_whatever_its_trials_differ_in(tmp_path: Path) -> None:
    (tmp_path / "crosstalk").mkdir()
    rows = [
        {
            **dict.fromkeys(old_stores.OLDEST),
            "method": "retrieval", "context": "binary", "width": 16, "lr": None, "seed": 0, "num_tasks": 2,
            "num_draws": draws, "alignment": 0.0, "support": 1.0,
        }
        for draws in (8, 2)
    ]  # fmt: skip
    out = write(tmp_path, rows)
    measured = {"num_models": 2, "second_moment": 0.1, "predicted": 0.1}
    pq.write_table(
        pa.Table.from_pylist([{"trial_id": f"0-{n}", **measured} for n in (0, 1)]), tmp_path / "crosstalk" / "0.parquet"
    )
    (tmp_path / "evals" / "0.parquet").unlink()
    assert settings_apart(read_store(out).trials) == ["num_draws"]
    assert [line.rpartition("/")[2] for line in plot_store(out)] == [
        "crosstalk-num_draws=2.png",
        "crosstalk-num_draws=8.png",
    ]


def test_a_setting_that_all_trials_have_as_usual_is_no_unknown_name(tmp_path: Path) -> None:
    out = write(tmp_path, [variant("none"), variant("binary")])
    with pytest.raises(StoreError, match="--panel norm has nothing to show: it is static in every trial"):
        list(plot_store(out, panel="norm"))
    with pytest.raises(StoreError, match="--panel nrm is no setting; norm is"):
        list(plot_store(out, panel="nrm"))

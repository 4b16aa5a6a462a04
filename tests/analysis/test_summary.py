"""`psp table`: what it averages, what it leaves blank, and how it is written."""

import csv
import io
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy import stats
from typer.testing import CliRunner

from analysis.store import StoredTrials, StoreError, read_store
from analysis.summary import MEANS, summarise
from analysis.table_text import summary_text
from psp_core import metrics
from study.cli import app
from tests.analysis.test_cycles import ROTATING, digits_store
from tests.analysis.test_roles import store_of
from tests.conftest import run_here, small_study


@pytest.fixture(scope="module")
def store(small_store: Path) -> StoredTrials:
    return read_store(str(small_store))


def matrix(store: StoredTrials, trial_id: str) -> np.ndarray:
    some = store.evals[store.evals["trial_id"] == trial_id]
    return some.pivot(index="tasks_seen", columns="task", values="accuracy").to_numpy()


def test_each_row_is_the_mean_of_its_seeds_and_students_interval(store: StoredTrials) -> None:
    rows = summarise(store, threshold=0.7).rows
    assert len(rows) == 4
    assert set(rows["trials"]) == {2}
    for _, row in rows.iterrows():
        trials = store.trials[(store.trials["curve"] == row["context"]) & (store.trials["width"] == row["width"])]
        every = [matrix(store, name) for name in trials["trial_id"]]
        expected = {
            "accuracy": [R[-1].mean() for R in every],
            "forgetting": [np.mean([R[:-1, j][j:].max() - R[-1, j] for j in range(len(R) - 1)]) for R in every],
            "backward": [metrics.backward_transfer(R).mean() for R in every],
            "forward": [np.mean(R.diagonal()[1:] - R[0, 0]) for R in every],
            "capacity": [metrics.capacity(R, 0.7, relative=True) for R in every],
        }
        for name, values in expected.items():
            assert row[name] == pytest.approx(np.mean(values)), name
        for name in MEANS:
            low, high = stats.t.interval(0.95, 1, loc=np.mean(expected[name]), scale=stats.sem(expected[name]))
            assert (row[f"{name}_low"], row[f"{name}_high"]) == pytest.approx((low, high)), name
        for name in ("kept_bytes", "answer_bytes_per_task", "train_flops", "seconds"):
            assert row[name] == pytest.approx(trials[name].mean())


def test_a_capacity_that_no_task_ended_is_a_lower_bound_without_an_interval(store: StoredTrials) -> None:
    flat = StoredTrials(**{**vars(store), "evals": store.evals.assign(accuracy=0.8)})
    row = summarise(flat).rows.iloc[0]
    assert (row["capacity"], row["capacity_below"], row["at_end"]) == (3, np.inf, 2)
    assert np.isnan(row["capacity_low"])
    assert "≥ 3.0" in summary_text(summarise(flat), "text")


def test_a_capacity_between_two_measurements_is_said_to_lie_there(tmp_path: Path) -> None:
    settings = {**small_study().settings, "eval_tasks": "first", "width": 8}
    del settings["num_tasks"]
    axes = {"context": ["none"], "num_tasks": [1, 2, 6]}
    run_here(small_study(axes=axes, settings=settings), tmp_path / "out")
    store = read_store(str(tmp_path / "out"))
    falling = store.evals["tasks_seen"].map({1: 0.9, 2: 0.88}).fillna(0.3)
    rows = summarise(StoredTrials(**{**vars(store), "evals": store.evals.assign(accuracy=falling)})).rows
    assert rows[["capacity", "capacity_below", "at_end"]].values.tolist() == [[2, 6, 0]]
    assert rows[["forgetting", "backward", "capacity_low"]].isna().all(axis=None)  # in between no task but 0 was asked


def test_after_fewer_tasks_a_trial_counts_as_it_was_and_its_costs_are_not_said(store: StoredTrials) -> None:
    rows = summarise(store, num_tasks=2).rows
    assert set(rows["tasks"]) == {2}
    assert "seconds" not in rows
    for _, row in rows.iterrows():
        trials = store.trials[(store.trials["curve"] == row["context"]) & (store.trials["width"] == row["width"])]
        every = [matrix(store, name)[:2, :2] for name in trials["trial_id"]]
        assert row["accuracy"] == pytest.approx(np.mean([R[-1].mean() for R in every]))
        assert row["forgetting"] == pytest.approx(np.mean([R[0, 0] - R[1, 0] for R in every]))


def test_a_number_of_tasks_that_nobody_measured_is_refused_with_those_that_were(store: StoredTrials) -> None:
    with pytest.raises(StoreError, match=r"tasks=9: .* after 9; known: after 1, 2, 3"):
        summarise(store, num_tasks=9)


def test_a_stream_with_cycles_has_an_accuracy_and_no_forgetting_transfer_or_capacity(tmp_path: Path) -> None:
    turning = digits_store(tmp_path / "turning", ["none", "binary"], **ROTATING)
    summary = summarise(turning)
    assert summary.rows["accuracy"].notna().all()
    undefined = ["forgetting", "backward", "forward", "capacity"]
    assert not [name for name in undefined if name in summary.rows and summary.rows[name].notna().any()]
    assert any("cycles" in note for note in summary.notes)
    assert "capacity" not in summary_text(summary, "text")
    with pytest.raises(StoreError, match="more than once"):
        summarise(turning, num_tasks=2)


def test_no_mean_mixes_settings(tmp_path: Path) -> None:
    summary = summarise(read_store(store_of(tmp_path, {"context": ["none", "binary"], "depth": [1, 2]}, seeds=3)))
    assert summary.settings == ["context", "width", "depth"]
    assert summary.rows[["context", "depth", "trials"]].values.tolist() == [
        ["none", 1, 3], ["none", 2, 3], ["binary", 1, 3], ["binary", 2, 3],
    ]  # fmt: skip


def test_of_several_learning_rates_the_best_one_has_the_row_and_a_note_says_so(tmp_path: Path) -> None:
    store = read_store(store_of(tmp_path, {"context": ["none", "binary"], "lr": [0.1, 0.01]}))
    is_best = (store.evals["context"] == "none") == (store.evals["lr"] == 0.1)
    evals = store.evals.assign(accuracy=np.where(is_best, 0.9, 0.1))
    summary = summarise(StoredTrials(**{**vars(store), "evals": evals}))
    assert summary.rows[["context", "lr"]].values.tolist() == [["none", 0.1], ["binary", 0.01]]
    assert any("best lr of 0.01, 0.1" in note for note in summary.notes)
    assert "best lr" in summary_text(summary, "text").splitlines()[0]
    alike = summarise(StoredTrials(**{**vars(store), "evals": store.evals.assign(accuracy=store.evals["lr"])}))
    assert "best lr" in summary_text(alike, "text").splitlines()[0]  # though all have the same best


def test_latex_has_no_letter_of_its_own_meaning(store: StoredTrials) -> None:
    evals = store.evals.assign(context=store.evals["context"].cat.rename_categories({"binary": "a_b & 50% #1"}))
    summary = summarise(StoredTrials(**{**vars(store), "evals": evals}))
    latex = summary_text(summary, "latex")
    assert r"a\_b \& 50\% \#1" in latex
    assert r"\toprule" in latex


def test_where_independent_nets_are_stored_new_tasks_are_set_beside_them_and_the_note_says_so(tmp_path: Path) -> None:
    nets = {"context": "none", "trunk": "independent"}
    out = store_of(tmp_path, {"width": [8, 16]}, variants=[{"context": "binary"}, nets])
    summary = summarise(read_store(out))
    over_alone = "less what an independent net reaches"
    assert summary.rows.loc[summary.rows["context"] == "none, independent nets", "forward"].tolist() == [0, 0]
    assert any(over_alone in note and "without such a net" not in note for note in summary.notes)
    summary = summarise(read_store(store_of(tmp_path, {"depth": [1]}, variants=[{"context": "rotation"}])))
    assert any(over_alone in note and "without such a net (rotation)" in note for note in summary.notes)
    plain = summarise(read_store(store_of(tmp_path / "plain", {"context": ["none"]})))
    assert not any(over_alone in note for note in plain.notes)


def test_retrieval_and_thresholds_that_are_no_shares_are_refused(store: StoredTrials) -> None:
    with pytest.raises(StoreError, match="no measured accuracy"):
        summarise(StoredTrials(**{**vars(store), "evals": pd.DataFrame()}))
    with pytest.raises(StoreError, match=r"threshold=1\.5"):
        summarise(store, threshold=1.5)


# How it is written


def test_csv_has_every_number_as_it_is(small_store: Path, store: StoredTrials) -> None:
    result = CliRunner().invoke(app, ["table", str(small_store), "--csv"])
    rows = list(csv.DictReader(io.StringIO(result.stdout)))
    expected = summarise(store).rows
    assert [float(row["accuracy_high"]) for row in rows] == pytest.approx(expected["accuracy_high"].tolist())
    assert [row["context"] for row in rows] == ["none", "none", "binary", "binary"]
    assert "Student's t" in result.stderr


def test_every_format_has_all_rows_and_the_same_cells(store: StoredTrials) -> None:
    summary = summarise(store)
    mean, low = summary.rows.loc[0, ["accuracy", "accuracy_low"]]
    cell = f"{100 * mean:.1f} ± {100 * (mean - low):.1f}"
    assert cell in summary_text(summary, "text")
    assert f" {cell} |" in summary_text(summary, "markdown")
    latex = summary_text(summary, "latex")
    assert cell.replace("±", r"$\pm$") in latex
    assert r"accuracy (\%)" in latex
    assert latex.count(r"\\") == 5
    assert latex.isascii()


def test_the_program_refuses_unknown_formats_and_places(small_store: Path, tmp_path: Path) -> None:
    for words in (["table", str(small_store), "--format", "xls"], ["table", str(tmp_path / "nowhere")]):
        with pytest.raises(StoreError):
            CliRunner().invoke(app, words, catch_exceptions=False)

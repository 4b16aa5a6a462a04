import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
from scipy import stats

from analysis import tables
from analysis.store import read_store
from psp_core import metrics
from tests.conftest import run_here, small_study


def evals_of(R: np.ndarray, **settings: object) -> pd.DataFrame:
    rows = [
        {"tasks_seen": i + 1, "task": j, "accuracy": R[i, j]}
        for i in range(len(R))
        for j in range(len(R))
        if np.isfinite(R[i, j])
    ]
    trial = {"trial_id": "a", "context": "binary", "width": 8, "lr": 0.1, "seed": 0, "num_tasks": len(R), **settings}
    return pd.DataFrame([{**trial, **row} for row in rows])


@pytest.fixture
def R() -> np.ndarray:
    rng = np.random.default_rng(0)
    return np.where(np.tri(6, dtype=bool), rng.uniform(0.2, 1, (6, 6)), np.nan)


def test_tables_agree_with_psp_core_metrics(R: np.ndarray) -> None:
    evals = evals_of(R)
    np.testing.assert_allclose(tables.mean_accuracy(evals)["accuracy"], metrics.mean_accuracy(R))
    np.testing.assert_allclose(tables.first_task(evals)["accuracy"], R[:, 0])
    lost = tables.interference(evals)
    assert lost["lag"].tolist() == [1, 2, 3, 4, 5]
    np.testing.assert_allclose(lost["lost"], metrics.interference(R)[1:])
    for threshold in (0.3, 0.7, 0.9):
        expected = metrics.capacity(R, threshold, relative=True)
        assert tables.capacity(evals, threshold)["capacity"].tolist() == [expected]


def test_a_row_measured_in_part_is_no_mean(R: np.ndarray) -> None:
    R[3, 1] = np.nan
    assert tables.mean_accuracy(evals_of(R))["tasks_seen"].tolist() == [1, 2, 3, 5, 6]


def test_the_newest_tasks_have_a_mean_where_all_were_measured(R: np.ndarray) -> None:
    R[4, 3] = np.nan
    newest = tables.newest_tasks(evals_of(R), 2).set_index("tasks_seen")["accuracy"]
    assert newest.index.tolist() == [2, 3, 4, 6]
    np.testing.assert_allclose(newest, [R[i, i - 1 : i + 1].mean() for i in (1, 2, 3, 5)])


def test_a_mean_over_the_last_measurements_of_task_0_begins_where_there_are_enough(R: np.ndarray) -> None:
    two = pd.concat([evals_of(R, trial_id="b"), evals_of(1 - R, trial_id="a")])
    rows = tables.first_task_by_step(two.assign(steps_per_task=1), pd.DataFrame())
    lately = tables.lately(rows, 4).set_index(["trial_id", "step"])["accuracy"]
    assert len(lately) == 6
    for end in (4, 5, 6):
        np.testing.assert_allclose(lately["b", end], R[end - 4 : end, 0].mean())
        np.testing.assert_allclose(lately["a", end], 1 - R[end - 4 : end, 0].mean())


def test_each_curve_takes_its_best_lr(R: np.ndarray) -> None:
    frames = [evals_of(R * scale, lr=lr, trial_id=str(lr)) for lr, scale in [(0.1, 0.5), (0.01, 1.0), (1.0, 0.1)]]
    assert tables.best_lr(pd.concat(frames))["lr"].unique().tolist() == [0.01]


def test_the_interval_is_students() -> None:
    values = [0.80, 0.84, 0.91]
    frame = pd.DataFrame({"context": ["a", "a", "a", "b"], "x": 1, "y": [*values, 0.5]})
    several, single = tables.over_seeds(frame, ["context", "x"], "y").itertuples(index=False)
    expected = stats.t.interval(0.95, 2, loc=np.mean(values), scale=stats.sem(values))
    np.testing.assert_allclose([several.low, several.high, several.mean], [*expected, np.mean(values)])
    assert single.mean == 0.5
    assert np.isnan([single.low, single.high]).all()


def test_a_store_is_read_whole_and_tidy(small_store: Path) -> None:
    store = read_store(str(small_store))
    assert len(store.trials) == 8
    assert len(store.evals) == 8 * 6
    assert {"context", "width", "seed", "accuracy"} <= set(store.evals.columns)
    assert store.damaged == []
    assert store.left_out == []


def test_the_beginning_of_a_longer_trial_counts_once(tmp_path: Path) -> None:
    few = small_study(settings={**small_study().settings, "num_tasks": 2})
    run_here(few, tmp_path / "out")
    run_here(small_study(), tmp_path / "out")
    store = read_store(str(tmp_path / "out"))
    assert len(store.trials) == 16
    assert len(store.evals) == 8 * 6
    assert set(store.evals["num_tasks"]) == {3}


def test_a_store_older_than_a_setting_is_read_as_what_it_was(small_store: Path, tmp_path: Path) -> None:
    shutil.copytree(small_store, tmp_path / "out")
    for path in (tmp_path / "out" / "trials").iterdir():
        pq.write_table(pq.read_table(path).drop_columns("learned_contexts"), path)
    assert read_store(str(tmp_path / "out")).trials["learned_contexts"].unique().tolist() == [False]


def test_capacity_is_known_only_where_every_row_was_measured(R: np.ndarray) -> None:
    R[3, 1] = np.nan
    assert tables.capacity(evals_of(R), 0.9).empty

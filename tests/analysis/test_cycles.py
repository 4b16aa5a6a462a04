"""Streams that go through their tasks more than once, and streams that are not permuting."""

from pathlib import Path

import matplotlib as mpl
import numpy as np
import pandas as pd
import pytest

from analysis.figures import FIGURES, UnsupportedError
from analysis.figures.layout import caption_of, title_of
from analysis.measured import Measured
from analysis.plot import plot_store
from analysis.store import StoredTrials, read_store
from analysis.tables import mean_accuracy
from tests.conftest import run_here, small_study

ROTATING = {"stream": "rotating", "num_tasks": 4, "num_cycles": 3, "width": 8}


def digits_store(out: Path, contexts: list[str], **settings: object) -> StoredTrials:
    content = {**small_study().settings, **settings}
    run_here(small_study(axes={"context": contexts}, settings=content), out)
    return read_store(str(out))


@pytest.fixture(scope="module")
def turning(tmp_path_factory: pytest.TempPathFactory) -> StoredTrials:
    return digits_store(tmp_path_factory.mktemp("stores") / "turning", ["none", "binary", "complex"], **ROTATING)


def test_all_tasks_measured_means_all_that_the_stream_has(turning: StoredTrials) -> None:
    means = mean_accuracy(turning.evals)
    trials = means.groupby("trial_id")["tasks_seen"].apply(list)
    assert all(seen == list(range(1, 13)) for seen in trials)
    one = turning.evals[turning.evals["trial_id"] == turning.trials["trial_id"].iloc[0]]
    curve = means[means["trial_id"] == turning.trials["trial_id"].iloc[0]].set_index("tasks_seen")["accuracy"]
    for seen in (2, 4, 11):
        np.testing.assert_allclose(curve[seen], one.loc[one["tasks_seen"] == seen, "accuracy"].mean())


def test_a_cycles_row_measured_in_part_is_no_mean(turning: StoredTrials) -> None:
    part = turning.evals[(turning.evals["tasks_seen"] != 9) | (turning.evals["task"] != 2)]
    assert 9 not in mean_accuracy(part)["tasks_seen"].to_numpy()


@pytest.mark.parametrize("name", ["capacity", "interference", "heatmap"])
def test_what_counts_the_tasks_stored_or_since_says_that_cycles_have_no_such_number(
    turning: StoredTrials, name: str
) -> None:
    with pytest.raises(UnsupportedError, match="through its tasks 3 times, and"):
        FIGURES[name](Measured(turning.evals, turning.trials))


def test_the_first_task_of_a_turning_stream_is_0_degrees_over_steps(turning: StoredTrials) -> None:
    figure = FIGURES["first-task"](Measured(turning.evals))
    (axes,) = figure.axes
    assert axes.get_lines()[0].get_xdata().tolist() == [5 * visit for visit in range(1, 13)]
    assert axes.get_xlabel() == "optimiser steps"
    assert axes.get_ylabel() == "accuracy at 0 degrees"
    assert figure.get_suptitle().startswith("Accuracy at 0 degrees over 3 cycles of 4 tasks")


def test_a_trial_measured_within_tasks_is_drawn_at_its_moments(tmp_path: Path) -> None:
    store = digits_store(tmp_path, ["none", "binary"], **ROTATING, eval_every=5, eval_from=1, eval_tasks="first")
    (axes,) = FIGURES["first-task"](Measured(store.evals, store.trials, store.curves)).axes
    line = next(line for line in axes.get_lines() if line.get_label() == "binary")
    assert line.get_xdata().tolist() == [*range(1, 60, 5), 60]  # and at its end
    binary = store.evals.loc[store.evals["context"] == "binary", "trial_id"]
    curve = store.curves[store.curves["trial_id"].isin(binary)].astype({"trial_id": str})
    np.testing.assert_allclose(line.get_ydata()[:-1], curve.groupby("step")["accuracy"].mean())


def test_trials_of_one_curve_that_were_measured_at_different_moments_are_drawn_after_tasks(tmp_path: Path) -> None:
    settings = {**small_study().settings, **ROTATING, "eval_tasks": "first"}
    for seed, changes in enumerate(({}, {"eval_every": 5, "eval_from": 1})):
        run_here(small_study(axes={"context": ["binary"]}, seeds=[seed], settings=settings | changes), tmp_path)
    store = read_store(str(tmp_path))
    assert store.evals["trial_id"].nunique() == 2
    (axes,) = FIGURES["first-task"](Measured(store.evals, store.trials, store.curves)).axes
    assert axes.get_lines()[0].get_xdata().tolist() == [*range(5, 61, 5)]


def test_one_training_measured_at_different_moments_counts_once(tmp_path: Path) -> None:
    """The one that was measured most often; what it is measured at changes no R."""
    settings = {**small_study().settings, **ROTATING, "eval_tasks": "first"}
    for changes in ({"eval_every": 5, "eval_from": 1}, {}, {"eval_every": 7}):
        run_here(small_study(axes={"context": ["binary"]}, seeds=[0], settings=settings | changes), tmp_path)
    store = read_store(str(tmp_path))
    assert len(store.trials) == 3
    assert store.evals["trial_id"].nunique() == 1
    assert store.evals["eval_every"].unique().tolist() == [5]
    assert store.curves["step"].tolist() == [*range(1, 60, 5)]


def test_permuted_tasks_too_are_drawn_over_steps_where_trials_were_measured_within_them(tmp_path: Path) -> None:
    store = digits_store(tmp_path, ["binary"], eval_every=2)
    (axes,) = FIGURES["first-task"](Measured(store.evals, store.trials, store.curves)).axes
    assert axes.get_lines()[0].get_xdata().tolist() == [*range(2, 15, 2), 15]
    assert axes.get_xlabel() == "optimiser steps"


def test_one_turn_counts_tasks_and_is_still_about_0_degrees(tmp_path: Path) -> None:
    evals = digits_store(tmp_path / "out", ["binary"], **{**ROTATING, "num_cycles": 1}).evals
    (axes,) = FIGURES["first-task"](Measured(evals)).axes
    assert axes.get_xlabel() == "number of tasks trained"
    assert axes.get_ylabel() == "accuracy at 0 degrees"
    FIGURES["capacity"](Measured(evals))
    FIGURES["interference"](Measured(evals))


def test_around_the_circle_is_the_last_row_by_angle(turning: StoredTrials) -> None:
    figure = FIGURES["around-the-circle"](Measured(turning.evals))
    (axes,) = figure.axes
    assert "after 3 cycles" in title_of(figure)
    (line,) = (line for line in axes.get_lines() if line.get_label() == "complex")
    assert line.get_xdata().tolist() == [0, 90, 180, 270]
    last = turning.evals[(turning.evals["context"] == "complex") & (turning.evals["tasks_seen"] == 12)]
    np.testing.assert_allclose(line.get_ydata(), last.groupby("task")["accuracy"].mean())


def test_a_store_that_measures_task_0_alone_has_its_circle_at_the_end(tmp_path: Path) -> None:
    out = tmp_path / "out"
    digits_store(out, ["none", "binary", "complex"], **ROTATING, eval_tasks="first")
    drawn = [line.rpartition("/")[2] for line in plot_store(str(out)) if line.startswith("drew")]
    assert drawn == ["first-task.png", "around-the-circle.png", "bytes.png"]


@pytest.mark.parametrize(
    "settings",
    [
        {"stream": "split", "classes_per_task": 3},
        {"stream": "split", "classes_per_task": 3, "shuffle_classes": True},
    ],
)
def test_split_streams_have_the_figures_of_permuting_ones(tmp_path: Path, settings: dict[str, object]) -> None:
    out = tmp_path / "out"
    digits_store(out, ["none", "binary"], **settings, width=8)
    drawn = [line.rpartition("/")[2] for line in plot_store(str(out)) if line.startswith("drew")]
    fronts = ["front-of-bytes.png", "front-of-operations.png"]
    of_time = ["forgetting.png", "through-time.png", "r-matrix.png"]
    assert drawn == ["capacity.png", "first-task.png", "interference.png", *of_time, *fronts]


def points(figure: mpl.figure.Figure) -> dict[str, tuple[float, float]]:
    (axes,) = figure.axes
    places = {bar.get_label(): bar.lines[0].get_xydata() for bar in axes.containers}
    return {str(label): (float(x), float(y)) for label, ((x, y),) in places.items()}


def test_bytes_shows_one_point_a_label_with_its_interval(turning: StoredTrials) -> None:
    figure = FIGURES["bytes"](Measured(turning.evals, turning.trials))
    found = points(figure)
    sizes = turning.trials.groupby("context")["context_bytes_per_task"].first()
    accuracies = turning.trials.groupby("context")["final_accuracy"].mean()
    assert found["binary"] == pytest.approx((sizes["binary"], accuracies["binary"]))
    assert found["complex"] == pytest.approx((sizes["complex"], accuracies["complex"]))
    assert found["none"][1] == pytest.approx(accuracies["none"])
    assert 0 < found["none"][0] < sizes["binary"] / 4  # a logarithmic axis has no zero: at its left edge
    (axes,) = figure.axes
    labels = [label.get_text() for label in axes.get_xticklabels()]
    assert labels[-1] == "0"
    assert "100 B" in labels
    assert "bars: 95% interval" in caption_of(figure)


def test_what_tasks_share_is_divided_among_them_however_many_trials_did_not_count_it(tmp_path: Path) -> None:
    store = digits_store(tmp_path / "out", ["binary", "complex", "one-power"], width=8)
    shared = 4 * (64 + 8 + 8)  # a phase for each input of the three layers
    assert points(FIGURES["bytes"](Measured(store.evals, store.trials)))["one-power"][0] == pytest.approx(
        12 + shared / 3
    )
    old = (store.trials["context"] == "one-power") & (store.trials["seed"] == 0)
    trials = store.trials.assign(
        total_bytes=store.trials["total_bytes"].where(~old, store.trials["total_bytes"] - shared)
    )
    assert points(FIGURES["bytes"](Measured(store.evals, trials)))["one-power"][0] == pytest.approx(12 + shared / 3)


def test_bytes_needs_three_sizes_at_one_width(turning: StoredTrials) -> None:
    two = turning.evals[turning.evals["context"] != "none"]
    with pytest.raises(UnsupportedError, match="three contexts of different sizes at one width"):
        FIGURES["bytes"](Measured(two, turning.trials))
    with pytest.raises(UnsupportedError, match="three contexts of different sizes"):
        FIGURES["bytes"](Measured(turning.evals, pd.DataFrame()))

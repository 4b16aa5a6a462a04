"""Each figure shows the numbers of a frame made by hand: ten rows or so, their means worked out here."""

import numpy as np
import pandas as pd
import pytest
from matplotlib.axes import Axes

from analysis import figures
from analysis.figures.layout import caption_of
from analysis.measured import Measured
from analysis.roles import Roles
from tests.figures import FigureContract

SETTINGS = {
    **{"context": "binary", "width": 8, "depth": 2, "lr": 0.1, "seed": 0, "num_cycles": 1, "num_labels": 10},
    **{"dataset": "digits", "stream": "permuting", "steps_per_task": 100, "model": "mlp"},
    **{"eval_every": None, "eval_from": None},
}
ONE_COLUMN = Roles(x=("width",), panel=None)
T = 12.706  # Student's t of one degree of freedom, 97.5%


def trial(matrix: list[list[float]], **settings: object) -> pd.DataFrame:
    """A trial's R[i, j], row by row, None where it was not measured."""
    rows = [
        {"tasks_seen": i + 1, "task": j, "accuracy": accuracy}
        for i, row in enumerate(matrix)
        for j, accuracy in enumerate(row)
        if accuracy is not None
    ]
    setup = {**SETTINGS, "num_tasks": len(matrix), **settings}
    name = "-".join(f"{setup[key]}" for key in ("context", "width", "depth", "lr", "seed"))
    return pd.DataFrame([{"trial_id": name, **setup, **row} for row in rows])


def measured(*trials: pd.DataFrame, roles: Roles = ONE_COLUMN, **tables: pd.DataFrame) -> Measured:
    return Measured(pd.concat(trials, ignore_index=True), roles=roles, **tables)


@pytest.fixture
def two_seeds() -> Measured:
    """Twelve rows: R of two seeds, 0.2 apart."""
    first = [[0.9], [0.8, 0.9], [0.6, 0.7, 0.9]]
    return measured(trial(first), trial([[value - 0.2 for value in row] for row in first], seed=1))


def line(axes: Axes, label: str) -> list[tuple[float, float]]:
    """The points of the line, or of the points with intervals, with this label."""
    bars = [each.lines[0] for each in axes.containers if each.get_label() == label]
    (found,) = bars or [one for one in axes.get_lines() if one.get_label() == label and len(one.get_xdata()) > 1]
    return [(float(x), float(y)) for x, y in found.get_xydata()]


def close(points: list[tuple[float, float]]) -> list[object]:
    return [pytest.approx(point) for point in points]


@pytest.mark.parametrize(
    ("name", "points"),
    [
        ("capacity", [(1, 0.8), (2, 0.75), (3, 0.6 + 0.1 / 3)]),
        ("first-task", [(1, 0.8), (2, 0.7), (3, 0.5)]),
        ("interference", [(1, 0.15), (2, 0.3)]),
        ("forgetting", [(2, 0.1), (3, 0.25)]),
    ],
)
def test_curves_are_means_over_seeds(two_seeds: Measured, name: str, points: list[tuple[float, float]]) -> None:
    (axes,) = figures.FIGURES[name](two_seeds).axes
    assert line(axes, "binary") == close(points)


def test_bands_are_the_interval_that_the_caption_names(two_seeds: Measured) -> None:
    figure = figures.capacity(two_seeds)
    (band,) = figure.axes[0].collections
    heights = band.get_paths()[0].vertices[:, 1]
    assert heights.max() == pytest.approx(0.8 + T * 0.1, abs=1e-4)  # 0.9 and 0.7: a deviation of 0.1 of the mean
    assert heights.min() == pytest.approx(0.6 + 0.1 / 3 - T * 0.1, abs=1e-4)
    assert "Mean of 2 seeds; bands: 95% interval of the mean (Student's t)." in caption_of(figure)


def test_forgetting_counts_from_the_best_and_only_where_all_was_measured() -> None:
    rising = measured(trial([[0.5], [0.8, 0.9], [0.6, 0.9, 0.9], [0.7, None, 0.9, 0.9]]))
    (axes,) = figures.forgetting(rising).axes
    assert line(axes, "binary") == close([(2, -0.3), (3, ((0.8 - 0.6) + 0) / 2)])


def test_the_matrix_is_a_mean_over_seeds_and_blank_above_its_diagonal(two_seeds: Measured) -> None:
    axes, bar = figures.r_matrix(two_seeds).axes
    drawn = axes.collections[0].get_array()
    np.testing.assert_allclose(drawn.filled(-1), [[0.8, -1, -1], [0.7, 0.8, -1], [0.5, 0.6, 0.8]])
    assert (axes.get_xlabel(), axes.get_ylabel(), bar.get_ylabel()) == ("task", "tasks trained", "accuracy")
    assert axes.get_ylim() == (3.5, 0.5)


def test_tasks_are_drawn_through_time_with_the_moments_at_which_tasks_begin(two_seeds: Measured) -> None:
    name = two_seeds.evals["trial_id"].iloc[0]
    curves = pd.DataFrame({"trial_id": name, "step": [50, 100, 150], "task": 0, "accuracy": [0.5, 0.9, 0.85]})
    alone = Measured(two_seeds.evals[two_seeds.evals["seed"] == 0], curves=curves, roles=ONE_COLUMN)
    (axes,) = figures.through_time(alone).axes
    first, second = [one for one in axes.get_lines() if len(one.get_xdata()) > 2 or one.get_marker() == "s"]
    assert [tuple(point) for point in first.get_xydata()] == [(0.5, 0.5), (1, 0.9), (1.5, 0.85), (2, 0.8), (3, 0.6)]
    assert [tuple(point) for point in second.get_xydata()] == [(2, 0.9), (3, 0.7)]
    boundaries = [one.get_xdata()[0] for one in axes.get_lines() if [*one.get_ydata()] == [0, 1]]
    assert boundaries == [0, 1, 2, 3]
    assert [text.get_text() for text in figures.through_time(alone).legends[0].get_texts()] == ["1", "2"]


def test_the_training_loss_is_drawn_over_steps_with_the_moments_at_which_tasks_begin(two_seeds: Measured) -> None:
    evals = two_seeds.evals.assign(eval_every=50)
    losses = {0: [2.0, 1.0, 1.5], 1: [2.4, 1.4, 0.5]}
    curves = pd.concat(
        pd.DataFrame({"trial_id": name, "step": [50, 50, 100, 150], "task": [0, 1, 0, 0], "train_loss": [a, a, b, c]})
        for name, (a, b, c) in zip(evals["trial_id"].unique(), losses.values(), strict=True)
    )
    (axes,) = figures.loss(Measured(evals, curves=curves, roles=ONE_COLUMN)).axes
    assert line(axes, "binary") == close([(50, 2.2), (100, 1.2), (150, 1.0)])
    assert [one.get_xdata()[0] for one in axes.get_lines() if [*one.get_ydata()] == [0, 1]] == [0, 100, 200]
    for without in (curves.assign(train_loss=np.nan), curves.drop(columns="train_loss"), pd.DataFrame()):
        with pytest.raises(figures.UnsupportedError, match="needs trials with eval_every"):
            figures.loss(Measured(evals, curves=without, roles=ONE_COLUMN))


@pytest.fixture
def two_depths() -> Measured:
    """Twelve rows: two depths of two seeds, of which the deeper one keeps both tasks."""
    shallow = {(1, 0): [[0.8], [0.4, 0.8]], (1, 1): [[0.8], [0.5, 0.9]]}
    kept = {**shallow, (3, 0): [[0.9], [0.9, 0.9]], (3, 1): [[0.7], [0.7, 0.7]]}
    trials = [trial(matrix, depth=depth, seed=seed) for (depth, seed), matrix in kept.items()]
    return measured(*trials, roles=Roles(x=("depth",), panel=None))


def test_accuracy_by_a_setting_has_the_mean_and_the_interval(two_depths: Measured) -> None:
    (axes,) = figures.accuracy_by(two_depths, "depth").axes
    assert line(axes, "binary") == close([(1, (0.6 + 0.7) / 2), (3, 0.8)])
    (bars,) = [each for each in axes.collections if len(each.get_segments()) == 2]
    halves = [(high - low) / 2 for (_, low), (_, high) in bars.get_segments()]
    assert halves == pytest.approx([T * 0.05, T * 0.1], abs=1e-4)


def test_capacity_by_a_setting_has_the_median_and_is_open_where_all_tasks_were_kept(two_depths: Measured) -> None:
    (axes,) = figures.capacity_by(two_depths, "depth").axes
    assert line(axes, "binary") == [(1, 1), (3, 2)]
    open_points = [one for one in axes.get_lines() if one.get_markerfacecolor() == "white"]
    assert [[*one.get_xdata()] for one in open_points] == [[3]]


def test_accuracy_by_learning_rate_has_all_rates() -> None:
    several = [trial([[value]], lr=lr) for lr, value in ((0.001, 0.3), (0.01, 0.8), (0.1, 0.6))]
    (axes,) = figures.learning_rate(measured(*several)).axes
    assert line(axes, "binary") == close([(0.001, 0.3), (0.01, 0.8), (0.1, 0.6)])


def test_a_heat_map_has_widths_from_the_top_and_numbers_of_tasks() -> None:
    narrow, wide = trial([[0.8], [0.2, 0.6]], width=4), trial([[0.9], [0.7, 0.9]], width=8)
    axes, _ = figures.heatmap(measured(narrow, wide)).axes
    np.testing.assert_allclose(axes.collections[0].get_array(), [[0.9, 0.8], [0.8, 0.4]])
    assert [label.get_text() for label in axes.get_yticklabels()] == ["8", "4"]


def test_around_the_circle_has_the_last_accuracies_by_angle() -> None:
    turned = measured(trial([[0.9], [0.8, 0.9], [0.3, 0.5, 0.9]], stream="rotating"))
    (axes,) = figures.around_the_circle(turned).axes
    assert line(axes, "binary") == close([(0, 0.3), (120, 0.5), (240, 0.9)])


def of_bytes(*names: str, **columns: object) -> pd.DataFrame:
    return pd.DataFrame({"trial_id": names, "num_tasks": 2, **columns})


def test_accuracy_stands_at_the_bytes_of_each_task_and_what_has_none_at_the_edge() -> None:
    values = {"none": 0.3, "binary": 0.6, "complex": 0.8}
    shown = [trial([[0.9], [value, value]], context=context) for context, value in values.items()]
    names = [frame["trial_id"].iloc[0] for frame in shown]
    trials = of_bytes(*names, context_bytes_per_task=[0.0, 100, 3000], total_bytes=[400.0, 600, 6400], num_params=100)
    (axes,) = figures.context_bytes(measured(*shown, trials=trials)).axes
    assert line(axes, "binary") == close([(100, 0.6)])
    assert line(axes, "complex") == close([(3000, 0.8)])
    ((x, y),) = line(axes, "none")
    assert x < 100
    assert y == pytest.approx(0.3)


def test_at_equal_bytes_a_curve_runs_over_widths() -> None:
    made = {("binary", 4): 0.5, ("binary", 8): 0.7, ("none", 4): 0.4, ("none", 8): 0.6}
    shown = [trial([[0.9], [value, value]], context=c, width=w) for (c, w), value in made.items()]
    names = [frame["trial_id"].iloc[0] for frame in shown]
    trials = of_bytes(*names, context_bytes_per_task=[10.0, 20, 0, 0], total_bytes=[420.0, 840, 400, 800])
    one, two = figures.equal_bytes(measured(*shown, trials=trials)).axes
    assert line(two, "binary") == close([(420, 0.5), (840, 0.7)])
    assert line(one, "binary") == close([(410, 0.9), (820, 0.9)])  # less what the second task has of its own
    assert line(two, "none") == close([(400, 0.4), (800, 0.6)])


class TestForgetting(FigureContract):
    name = "forgetting"

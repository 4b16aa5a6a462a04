"""The figure and the tables of the law of capacity, on a store whose capacities are made up."""

import csv
import io
from dataclasses import replace
from pathlib import Path
from typing import ClassVar

import numpy as np
import pandas as pd
import pytest
from typer.testing import CliRunner

from analysis.figures import BY_SETTING, FIGURES, OtherStudyError
from analysis.figures.layout import caption_of
from analysis.law import law, laws, predicted_laws
from analysis.law_text import law_rows, law_table
from analysis.measured import Measured
from analysis.plot import experiments, with_roles
from analysis.predictions import NAMES
from analysis.store import StoredTrials, StoreError, read_store
from analysis.summary import whole
from study.cli import app
from tests.analysis.test_cycles import ROTATING, digits_store
from tests.analysis.test_roles import store_of
from tests.figures import FigureContract, drawn

NUM_TASKS = 8
WIDTHS = (8, 16, 32, 64)
KEPT = {"none": (1, 1, 2, 3), "binary": (1, 2, 4, 8)}  # tasks, by width; an odd seed keeps one more


@pytest.fixture
def store(tmp_path: Path) -> StoredTrials:
    axes = {"context": list(KEPT), "width": list(WIDTHS), "num_tasks": [NUM_TASKS]}
    stored = read_store(store_of(tmp_path / "out", axes))
    settings = stored.evals.drop(columns=["tasks_seen", "task", "accuracy"]).drop_duplicates("trial_id")
    pairs = pd.DataFrame(
        [(seen, task) for seen in range(1, NUM_TASKS + 1) for task in range(seen)], columns=["tasks_seen", "task"]
    )
    evals = settings.merge(pairs, how="cross")
    kept = [KEPT[row.context][WIDTHS.index(row.width)] + row.seed % 2 for row in evals.itertuples()]
    return replace(stored, evals=evals.assign(accuracy=np.where(evals["tasks_seen"] <= kept, 0.9, 0.5)))


@pytest.fixture
def measured(store: StoredTrials) -> Measured:
    ((_, found),) = experiments(with_roles(store))
    return found


class TestLaw(FigureContract):
    name: ClassVar[str] = "law"

    def test_it_shows_other_numbers_where_others_were_measured(self, measured: Measured) -> None:
        """Half of all accuracies is the same share of a single task's; so another course is asked for."""
        fading = measured.evals.assign(accuracy=0.9 / measured.evals["tasks_seen"])
        flat = measured.evals.assign(accuracy=0.9)
        assert drawn(replace(measured, evals=fading), self.name) != drawn(replace(measured, evals=flat), self.name)


def test_points_lines_arrows_and_exponents_are_those_of_the_trials(measured: Measured) -> None:
    figure = FIGURES["law"](measured)
    (axes,) = figure.axes
    assert (axes.get_xscale(), axes.get_yscale()) == ("log", "log")
    points = [(line, line.get_ydata()[0]) for line in axes.get_lines() if len(line.get_xdata()) == 1]
    assert sorted(y for _, y in points) == sorted([*KEPT["none"], *KEPT["binary"]])  # of two seeds the lower
    assert [y for line, y in points if line.get_markerfacecolor() == "white"] == [NUM_TASKS]
    ends = [text.xy[1] for text in axes.texts]  # of arrows: to beyond all tasks, and to below one
    assert sorted(end > 1 for end in ends) == [False, False, False, True]
    names = [text.get_text() for text in figure.legends[0].get_texts()]
    for found, name in zip(laws(measured.against("width"), 0.9), names, strict=True):
        exponent = found.exponent
        assert name == f"{found.name}: b = {exponent.value:.2f} [{exponent.low:.2f}, {exponent.high:.2f}]"
    assert len(axes.collections) == 2  # bands


def test_two_widths_are_points_without_a_law_and_the_caption_says_why(measured: Measured) -> None:
    figure = FIGURES["law"](replace(measured, evals=measured.evals[measured.evals["width"] < 32]))
    assert not figure.axes[0].collections
    assert "none, binary: needs 3 widths, and has 2." in caption_of(figure)


def test_capacity_by_width_is_drawn_once(measured: Measured) -> None:
    with pytest.raises(OtherStudyError, match="the figure law"):
        BY_SETTING["capacity-by"](measured, "width")


def test_each_share_has_its_own_law(store: StoredTrials) -> None:
    text, _ = law_table(store, "csv", None)
    rows = list(csv.DictReader(io.StringIO(text)))
    assert [(row["context"], row["kept"]) for row in rows] == [
        (context, kept) for kept in ("0.8", "0.9", "0.95") for context in ("none", "binary")
    ]
    assert [row["kept_all"] for row in rows[:2]] == ["0", "2"]
    assert [row["kept_one"] for row in rows[:2]] == ["2", "1"]
    (none, binary) = laws(whole(store), 0.8)
    assert float(rows[1]["exponent_high"]) == pytest.approx(binary.exponent.high)
    assert float(rows[0]["tasks_at_32_low"]) == pytest.approx(none.tasks(32).low)


def test_the_tables_say_what_the_laws_are(store: StoredTrials) -> None:
    text, _ = law_table(store, "text", 0.9)
    rows = law_rows(laws(whole(store), 0.9))
    assert f"{rows['exponent'][1]:.2f} [{rows['exponent_low'][1]:.2f}, {rows['exponent_high'][1]:.2f}]" in text
    crossing, _ = law_table(store, "markdown", 0.9, crossings=True)
    assert crossing.startswith("|")
    assert "more than none" in crossing


def test_what_has_no_law_says_why(store: StoredTrials) -> None:
    flat = replace(store, evals=store.evals.assign(accuracy=0.9))
    text, _ = law_table(flat, "text", 0.9)
    assert text.count("no trial reached its capacity") == 2
    with pytest.raises(StoreError, match=r"No two curves .* have a law.*none: no trial reached"):
        law_table(flat, "text", 0.9, crossings=True)


def test_a_stream_with_cycles_has_no_capacity(tmp_path: Path) -> None:
    turning = digits_store(tmp_path / "turning", ["none", "binary"], **ROTATING)
    with pytest.raises(StoreError, match="No trial of this store has a capacity"):
        law_table(turning, "text", None)


def test_the_program_prints_laws_and_refuses_shares_that_are_none(small_store: Path) -> None:
    result = CliRunner().invoke(app, ["table", str(small_store), "--law", "--threshold", "0.9"])
    assert "needs 3 widths, and has 2" in result.stdout
    with pytest.raises(StoreError, match="threshold=2 "):
        CliRunner().invoke(app, ["table", str(small_store), "--law", "--threshold", "2"], catch_exceptions=False)


def test_a_curve_without_intervals_crosses_at_one_width(store: StoredTrials) -> None:
    alone = replace(store, evals=store.evals[store.evals["seed"] == 1])
    text, _ = law_table(alone, "csv", 0.9, crossings=True)
    (row,) = csv.DictReader(io.StringIO(text))
    assert float(row["width"] or row["nearest_width"]) > 0
    assert row["width_low"] == row["ratio_low"] == ""


def test_what_could_be_known_by_heart_is_drawn_where_it_is_asked_for(measured: Measured) -> None:
    plain, bounded = (FIGURES["law"](replace(measured, with_bounds=asked)) for asked in (False, True))
    assert "2505.24832" not in caption_of(plain)
    assert "2505.24832" in caption_of(bounded)
    expected = 3.6 * 100 / (1438 * np.log2(10))  # 100 parameters (store_of), all training images of digits
    heights = [line.get_ydata() for line in bounded.axes[0].get_lines()]
    assert any(len(ys) == len(WIDTHS) and np.allclose(ys, expected) for ys in heights)


def test_capacities_that_are_no_power_of_width_are_refused_in_the_table_and_the_caption(store: StoredTrials) -> None:
    evals = store.evals
    bent = [
        (1, 6, 6, 7)[WIDTHS.index(width)] + seed % 2 for width, seed in zip(evals["width"], evals["seed"], strict=True)
    ]
    other = replace(store, evals=evals.assign(accuracy=np.where(evals["tasks_seen"] <= bent, 0.9, 0.5)))
    for each, is_refused in ((store, False), (other, True)):
        ((_, measured),) = experiments(with_roles(each))
        text, notes = law_table(each, "text", 0.9)
        assert ("refused, p" in text) == is_refused
        assert ("No power of width" in caption_of(FIGURES["law"](measured))) == is_refused
        assert "p = " in text
        assert any("Lack of fit" in note for note in notes)


# What theories predict beside it

PREDICTED_AT = (1, 2, 3, 4, 6, 8, 12)
PREDICTED = {  # of binary alone, by width: a power with the exponent 1; beyond the end of what is predicted; one task
    "increments": (1, 2, 4, 8),
    "responses": (3, 6, 12, 12),
    "models": (1, 1, 1, 1),
}


@pytest.fixture
def predicting(store: StoredTrials) -> StoredTrials:
    trials = store.evals.drop_duplicates("trial_id")
    rows = [
        (trial.trial_id, theory, seen, 0.8 if seen <= kept[WIDTHS.index(trial.width)] else 0.4)
        for trial in trials[trials["context"] == "binary"].itertuples()
        for theory, kept in PREDICTED.items()
        for seen in PREDICTED_AT
    ]
    predictions = pd.DataFrame(rows, columns=["trial_id", "theory", "tasks_seen", "accuracy"]).assign(first_task=0.9)
    moved = predictions[predictions["theory"] == "models"].assign(theory="moved", accuracy=np.nan)
    return replace(store, predictions=pd.concat([predictions, moved], ignore_index=True))


def test_each_theory_has_the_law_of_its_bounds_beside_the_measured_one(predicting: StoredTrials) -> None:
    ours = laws(whole(predicting), 0.9)
    found = {each.source: each for each in predicted_laws(whole(predicting), ours)}
    assert list(found) == [NAMES[theory] for theory in ("models", "responses", "increments")]
    assert all(each.beside is ours[1] for each in found.values())  # of binary: nothing is predicted of none
    below = {1: 2, 2: 3, 3: 4, 4: 6, 6: 8, 8: 12, 12: np.inf}
    for theory in ("responses", "increments"):
        kept = np.repeat(PREDICTED[theory], 2)
        rows = pd.DataFrame({"width": np.repeat(WIDTHS, 2), "at_least": kept, "below": [below[k] for k in kept]})
        expected, one = law({}, 0.9, rows), found[NAMES[theory]]
        np.testing.assert_allclose(one.resamples, expected.resamples)
        ratio = one.over_measured(32)
        assert ratio.value == pytest.approx(expected.tasks(32).value / ours[1].tasks(32).value)
        assert ratio.low <= ratio.value <= ratio.high
    assert found[NAMES["increments"]].exponent.value == pytest.approx(1, abs=0.15)
    assert (found[NAMES["responses"]].num_above, found[NAMES["models"]].num_below) == (4, 8)
    assert found[NAMES["models"]].reason == "every trial kept one task alone"


def test_the_table_has_each_theorys_exponent_and_ratio_below_the_measured_law(predicting: StoredTrials) -> None:
    text, notes = law_table(predicting, "csv", 0.9)
    rows = pd.read_csv(io.StringIO(text))
    assert list(rows["source"]) == [
        "measured",
        "measured",
        *(NAMES[name] for name in ("models", "responses", "increments")),
    ]
    assert list(rows["context"]) == ["none", *4 * ["binary"]]
    assert rows["exponent_low"].notna().tolist() == [True, True, False, True, True]
    assert rows["over_measured_at_32"].notna().tolist() == [False, False, False, True, True]
    assert any("docs/theory.md" in note for note in notes)
    assert "predicted, increments" in law_table(predicting, "text", 0.9)[0]
    crossing, _ = law_table(predicting, "text", 0.9, crossings=True)
    assert "predicted" not in crossing


def test_a_store_without_predictions_says_nothing_of_them(store: StoredTrials) -> None:
    text, notes = law_table(store, "text", 0.9)
    assert "predicted" not in " ".join([text, *notes])


def test_each_theory_is_a_thin_line_in_its_curves_colour_that_ends_where_all_tasks_are_kept(
    predicting: StoredTrials,
) -> None:
    ((_, found),) = experiments(with_roles(predicting))
    figure = FIGURES["law"](found)
    thin = [line for line in figure.axes[0].get_lines() if line.get_linewidth() == 0.7]
    colour = {line.get_color() for line in figure.axes[0].get_lines() if line.get_marker() == "s"}
    assert {line.get_color() for line in thin} == colour
    assert [text.get_text() for text in figure.legends[1].get_texts()] == [
        NAMES[name] for name in ("models", "responses", "increments")
    ]
    heights = {str(line.get_label()): line.get_ydata() for line in thin}
    assert np.isnan(heights[NAMES["responses"]]).tolist() == [False, False, True, True]
    between = 2 * (3 / 2) ** 0.2  # 0.72 lies a fifth of the way from 0.8 to 0.4
    assert heights[NAMES["increments"]][1] == pytest.approx(between)
    assert "that a theory predicts" in caption_of(figure)
    assert figure.axes[0].get_ylim()[1] > NUM_TASKS * 1.5  # as high as 8 tasks predicted of widths of 64, and 9 kept

"""The figure and the tables of the law of capacity, on a store whose capacities are made up."""

import csv
import io
from dataclasses import replace
from pathlib import Path
from typing import ClassVar

import matplotlib as mpl
import numpy as np
import pandas as pd
import pytest
from typer.testing import CliRunner

from analysis.figures import BY_SETTING, FIGURES, OtherStudyError
from analysis.figures.layout import caption_of
from analysis.law import laws
from analysis.law_text import law_rows, law_table
from analysis.measured import Measured
from analysis.plot import experiments, with_roles
from analysis.store import StoredTrials, StoreError, read_store
from analysis.summary import whole
from study.cli import app
from tests.analysis.test_cycles import ROTATING, digits_store
from tests.analysis.test_roles import store_of
from tests.figures import FigureContract, drawn

mpl.use("Agg")

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
    for law, name in zip(laws(measured.against("width"), 0.9), names, strict=True):
        exponent = law.exponent
        assert name == f"{law.name}: b = {exponent.value:.2f} [{exponent.low:.2f}, {exponent.high:.2f}]"
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
    law, _ = law_table(store, "text", 0.9)
    rows = law_rows(laws(whole(store), 0.9))
    assert f"{rows['exponent'][1]:.2f} [{rows['exponent_low'][1]:.2f}, {rows['exponent_high'][1]:.2f}]" in law
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

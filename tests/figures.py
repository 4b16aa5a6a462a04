"""What every figure must do: a new one inherits the contract and adds its own facts."""

from dataclasses import replace
from pathlib import Path
from typing import ClassVar

import pytest

from analysis.figures import FIGURES, UnsupportedError
from analysis.measured import Measured
from analysis.plot import experiments, with_roles
from analysis.store import read_store


class FigureContract:
    """Inherit, and name the figure. It draws a small study: two contexts, two widths, two seeds and three tasks."""

    name: ClassVar[str]

    @pytest.fixture
    def measured(self, small_store: Path) -> Measured:
        ((_, measured),) = experiments(with_roles(read_store(str(small_store))))
        return measured

    def test_it_is_drawn_with_names_and_a_line_for_each_curve(self, measured: Measured) -> None:
        figure = FIGURES[self.name](measured)
        assert figure.axes
        for axes in figure.axes:
            assert axes.get_xlabel()
            assert axes.has_data()
        assert figure.axes[0].get_ylabel()
        assert {text.get_text() for text in figure.legends[0].get_texts()} >= {"none", "binary"}

    def test_it_is_drawn_of_one_seed(self, measured: Measured) -> None:
        assert FIGURES[self.name](replace(measured, evals=measured.evals[measured.evals["seed"] == 0])).axes

    def test_it_shows_other_numbers_where_others_were_measured(self, measured: Measured) -> None:
        other = measured.evals.assign(accuracy=measured.evals["accuracy"] * 0.5)
        assert drawn(measured, self.name) != drawn(replace(measured, evals=other), self.name)

    def test_of_one_task_it_is_drawn_or_says_what_it_needs(self, measured: Measured) -> None:
        one = replace(measured, evals=measured.evals[measured.evals["tasks_seen"] == 1])
        try:
            assert FIGURES[self.name](one).axes
        except UnsupportedError:
            with pytest.raises(UnsupportedError, match="needs"):
                FIGURES[self.name](one)


def drawn(measured: Measured, name: str) -> list[list[float]]:
    """The heights of all lines."""
    figure = FIGURES[name](measured)
    return [list(map(float, line.get_ydata())) for axes in figure.axes for line in axes.get_lines()]  # type: ignore[arg-type]

"""Draws mean accuracy against all bytes that a number of tasks needs: contexts and masks on one scale."""

from typing import Final

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.ticker import EngFormatter, LogLocator, NullLocator

from analysis.captions import caption
from analysis.figures.base import Axis, Curves, OtherStudyError, name_axes, refuse_cycles
from analysis.figures.layout import Texts, sheet
from analysis.figures.styles import current, styled
from analysis.measured import Measured
from analysis.tables import mean_accuracy, over_seeds

SHARES: Final = (0.1, 0.2, 0.5, 1.0)  # a panel for each of these shares of the tasks


@styled
def draw(measured: Measured) -> Figure:
    """A panel for each of some numbers of tasks; in each panel a curve over widths for each context or kind of mask.

    Bytes are 4 for each shared weight, and all that the panel's tasks have of their own.

    Raises:
        OtherStudyError: no two curves have several widths, their bytes are not known, or a stream has cycles.
    """
    refuse_cycles(measured.evals, "its tasks are trained more than once")
    if "width" not in measured.roles.x:
        raise OtherStudyError("needs several widths")
    measured = measured.against("width")
    trials = measured.trials
    columns = ["context_bytes_per_task", "total_bytes", "num_tasks"]
    if trials.empty or trials[columns].isna().any(axis=1).all():
        raise OtherStudyError("needs trials whose sizes in bytes are known")
    frame = measured.beside(mean_accuracy(measured.best_lr))
    of_curve = frame.groupby(measured.roles.settings, dropna=False)["width"].nunique()
    if (of_curve > 1).sum() < 2:
        raise OtherStudyError("needs several widths of at least two kinds of contexts or masks")
    sizes = trials.set_index("trial_id")[columns].astype(float).loc[frame["trial_id"]].reset_index(drop=True)
    unused = (sizes["num_tasks"] - frame["tasks_seen"]) * sizes["context_bytes_per_task"]
    frame = frame.assign(bytes=sizes["total_bytes"] - unused).dropna(subset="bytes")
    return _panels(measured, frame)


def _numbers_of_tasks(there: "pd.Series[int]") -> list[int]:
    """The numbers of tasks nearest to SHARES of the largest."""
    numbers = np.unique(there)
    wanted = [numbers[np.abs(numbers - share * numbers[-1]).argmin()] for share in SHARES]
    return sorted({int(number) for number in wanted})


def _panels(measured: Measured, frame: pd.DataFrame) -> Figure:
    numbers = _numbers_of_tasks(frame["tasks_seen"])
    shown = Curves(frame, measured.roles)
    rows = shown.panels
    texts = Texts(
        title=measured.titled("At equal bytes: shared weights and what tasks have of their own"),
        caption=caption(measured, frame, "Points: widths.", x="width"),
        keys=shown.keys(),
    )
    named = [
        (f"{name}, {number} task{'s' if number > 1 else ''}".removeprefix(", "), some[some["tasks_seen"] == number])
        for name, some in rows
        for number in numbers
    ]
    figure, grid = sheet([name for name, _ in named], texts, columns=min(len(numbers), current().most_columns))
    for axes, (_, some) in zip(grid, named, strict=True):
        for look, of_curve in shown.of(some):
            points = over_seeds(of_curve, ["width", "bytes"], "accuracy").sort_values("bytes")
            axes.plot(points["bytes"], points["mean"], **look.line(), **look.points())
            axes.fill_between(points["bytes"], points["low"], points["high"], color=look.colour, alpha=0.18, lw=0)
        axes.set_xscale("log")
        axes.xaxis.set_major_locator(LogLocator(numticks=4))
        axes.xaxis.set_minor_locator(NullLocator())
        axes.xaxis.set_major_formatter(EngFormatter(unit="B", places=0, sep=" "))
    name_axes(grid, Axis(column="bytes", label="bytes in all"), Axis(column="accuracy", label="mean accuracy"))
    grid[0].set_ylim(0, 1)
    return figure

"""Capacity against width: how many tasks stay at 90% of a single task's accuracy."""

from typing import Final

from matplotlib.figure import Figure
from matplotlib.ticker import NullFormatter, ScalarFormatter

from analysis.figures.base import Axis, UnsupportedError, curves, finish, refuse_cycles
from analysis.tables import Measured, capacity

THRESHOLD: Final = 0.9


def draw(measured: Measured) -> Figure:
    """One curve for each context, over widths.

    Raises:
        UnsupportedError: fewer than two widths whose trials measured everything at each boundary, or a
            stream has cycles.
    """
    refuse_cycles(measured.evals, "the number of tasks stored no longer grows; see first-task")
    frame = capacity(measured.best_lr, THRESHOLD)
    if frame["width"].nunique() < 2:
        raise UnsupportedError("needs at least two widths, all tasks measured after each one (eval_tasks: all)")
    y = Axis(column="capacity", label="capacity (tasks)")
    figure = curves(frame, Axis(column="width", label="width"), y, panels=False, marker="o")
    (axes,) = figure.axes
    most = frame["num_tasks"].max()
    axes.set(xscale="log", ylim=(0, most * 1.08), xticks=sorted(frame["width"].unique()))
    axes.xaxis.set_major_formatter(ScalarFormatter())
    axes.xaxis.set_minor_formatter(NullFormatter())
    axes.axhline(most, color="0.6", linestyle=":", linewidth=1)
    axes.text(0.02, most, f"all {most} tasks trained", transform=axes.get_yaxis_transform(), fontsize=8, va="bottom")
    return finish(
        figure,
        f"Capacity: most tasks with a mean accuracy of {THRESHOLD:.0%} of a single task's",
        frame,
        measured.evals,
    )

"""Draws the capacity curve: mean accuracy against the number of tasks stored."""

from typing import Final

from matplotlib.figure import Figure

from analysis.figures.base import Axis, Curves, UnsupportedError, curves, mark_level, refuse_cycles
from analysis.figures.styles import styled
from analysis.measured import Measured
from analysis.tables import mean_accuracy

APART: Final = 0.06  # the distance of two levels whose names do not overlap


@styled
def draw(measured: Measured) -> Figure:
    """Curves, with dotted lines at the accuracy of guessing and of a single task.

    Raises:
        UnsupportedError: all tasks seen were measured after one number of tasks alone; or a stream has cycles.
    """
    refuse_cycles(measured.evals, "the number of tasks stored no longer grows; see first-task")
    frame = mean_accuracy(measured.best_lr)
    if frame["tasks_seen"].nunique() < 2:
        raise UnsupportedError("needs all tasks measured after at least two numbers of tasks (eval_tasks: all)")
    datasets = ", ".join(map(str, measured.evals["dataset"].unique()))
    figure = curves(
        measured,
        frame,
        Axis(column="tasks_seen", label="number of tasks stored"),
        Axis(column="accuracy", label="mean accuracy over them"),
        title=f"Capacity: how many tasks fit in one set of weights ({datasets})",
        note="Dotted: chance, and the best curve's accuracy with one task stored.",
    )
    figure.axes[0].set_ylim(0, 1)
    for axes, (_, rows) in zip(figure.axes, Curves(measured.single_task, measured.roles).panels, strict=True):
        mark_level(axes, measured.chance, "chance")
        best = rows.groupby(measured.settings, dropna=False)["accuracy"].mean().max()
        if best > (measured.chance or 0) + APART:
            mark_level(axes, best, "one task")
    return figure

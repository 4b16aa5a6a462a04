"""Accuracy of task 0 as later tasks are trained: the curve of the paper's Figs. 2 and 3."""

from matplotlib.figure import Figure

from analysis.figures.base import Axis, UnsupportedError, curves, finish
from analysis.tables import Measured, first_task


def draw(measured: Measured) -> Figure:
    """One panel for each width, one curve for each context.

    Raises:
        UnsupportedError: only one task was trained.
    """
    frame = first_task(measured.best_lr)
    if frame["tasks_seen"].nunique() < 2:
        raise UnsupportedError("needs at least two tasks")
    y = Axis(column="accuracy", label="accuracy on task 0")
    figure = curves(frame, Axis(column="tasks_seen", label="number of tasks trained"), y)
    figure.axes[0].set_ylim(0, 1)
    return finish(figure, "Interference: what later tasks leave of the first", frame, measured.evals)

"""Accuracy of task 0 as later tasks are trained: the curve of the paper's Figs. 2 and 3."""

import pandas as pd
from matplotlib.figure import Figure

from analysis.figures.base import Axis, UnsupportedError, curves, finish
from analysis.tables import best_lr, first_task


def draw(evals: pd.DataFrame) -> Figure:
    """One panel for each width, one curve for each context.

    Raises:
        UnsupportedError: only one task was trained.
    """
    frame = first_task(best_lr(evals))
    if frame["tasks_seen"].nunique() < 2:
        raise UnsupportedError("needs at least two tasks")
    y = Axis(column="accuracy", label="accuracy on task 0")
    figure = curves(frame, Axis(column="tasks_seen", label="number of tasks trained"), y)
    figure.axes[0].set_ylim(0, 1)
    return finish(figure, "Interference: what later tasks leave of the first", frame, evals)

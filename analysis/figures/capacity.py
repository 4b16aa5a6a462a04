"""Mean accuracy against the number of tasks stored: the capacity curve."""

import pandas as pd
from matplotlib.figure import Figure

from analysis.figures.base import UnsupportedError, curves, finish
from analysis.tables import best_lr, mean_accuracy


def draw(evals: pd.DataFrame) -> Figure:
    """One panel for each width, one curve for each context.

    Raises:
        UnsupportedError: no trial measured more than one number of tasks in full.
    """
    frame = mean_accuracy(best_lr(evals))
    if frame["tasks_seen"].nunique() < 2:
        raise UnsupportedError("needs all tasks measured after at least two numbers of tasks (eval_tasks: all)")
    grid = curves(frame, "tasks_seen", "accuracy")
    grid.set_axis_labels("number of tasks stored", "mean accuracy over all of them").set(ylim=(0, 1))
    return finish(grid, "Capacity: how many tasks fit in one set of weights", frame, evals)

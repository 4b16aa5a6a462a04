"""Accuracy lost against lag: how much a task suffers from each further one."""

import pandas as pd
from matplotlib.figure import Figure

from analysis.figures.base import UnsupportedError, curves, finish
from analysis.tables import best_lr, interference


def draw(evals: pd.DataFrame) -> Figure:
    """One panel for each width, one curve for each context.

    Raises:
        UnsupportedError: no task was measured again after a later one.
    """
    frame = interference(best_lr(evals))
    if frame.empty:
        raise UnsupportedError("needs a task that was measured again after a later one")
    grid = curves(frame, "lag", "lost")
    grid.set_axis_labels("lag: tasks trained since", "accuracy lost, mean over tasks")
    return finish(grid, "Interference: accuracy lost as later tasks are trained", frame, evals)

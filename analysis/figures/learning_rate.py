"""Mean accuracy at the end against the learning rate."""

import pandas as pd
from matplotlib.figure import Figure

from analysis.figures.base import Axis, UnsupportedError, curves, finish
from analysis.tables import mean_accuracy


def draw(evals: pd.DataFrame) -> Figure:
    """One panel for each width, one curve for each context, over learning rates.

    Raises:
        UnsupportedError: fewer than two learning rates.
    """
    if evals["lr"].nunique() < 2:
        raise UnsupportedError(f"needs at least two learning rates; there is {evals['lr'].iloc[0]:g}")
    frame = mean_accuracy(evals)
    last = frame["tasks_seen"].max()
    y = Axis(column="accuracy", label=f"mean accuracy over {last} tasks")
    figure = curves(frame[frame["tasks_seen"] == last], Axis(column="lr", label="learning rate"), y, marker="o")
    figure.axes[0].set(xscale="log", ylim=(0, 1))
    return finish(figure, "Sensitivity to the learning rate", frame, evals)

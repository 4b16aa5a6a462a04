"""Accuracy by angle after the last cycle of a rotating stream."""

from matplotlib.figure import Figure

from analysis.figures.base import Axis, UnsupportedError, curves, finish
from analysis.tables import TRIAL, Measured


def draw(measured: Measured) -> Figure:
    """One panel for each width, one curve for each context, over the angles at which tasks begin.

    Task j is measured at 360 j / num_tasks degrees.

    Raises:
        UnsupportedError: another stream, or fewer than two tasks.
    """
    if (measured.evals["stream"] != "rotating").any():
        raise UnsupportedError("needs a rotating stream")
    evals = measured.best_lr
    frame = evals.loc[evals["tasks_seen"] == evals["num_tasks"] * evals["num_cycles"], [*TRIAL, "task", "accuracy"]]
    if frame["task"].nunique() < 2:
        raise UnsupportedError("needs at least two tasks")
    num_tasks, num_cycles = evals["num_tasks"].iloc[0], evals["num_cycles"].iloc[0]
    frame = frame.assign(angle=360 * frame["task"] / num_tasks).astype({"context": object})
    x, y = Axis(column="angle", label="angle (degrees)"), Axis(column="accuracy", label="accuracy")
    figure = curves(frame, x, y, marker="o")
    figure.axes[0].set(ylim=(0, 1), xlim=(-10, 360), xticks=range(0, 361, 90))
    cycles = f"{num_cycles} cycles" if num_cycles > 1 else "one cycle"
    return finish(figure, f"Around the circle: accuracy by angle after {cycles}", frame, measured.evals)

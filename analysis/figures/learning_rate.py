"""Mean accuracy at the end against the learning rate."""

from matplotlib.figure import Figure

from analysis.figures.base import Axis, UnsupportedError, curves, finish
from analysis.tables import Measured, mean_accuracy


def draw(measured: Measured) -> Figure:
    """One panel for each width, one curve for each context, over learning rates.

    Raises:
        UnsupportedError: fewer than two learning rates.
    """
    if measured.evals["lr"].nunique() < 2:
        raise UnsupportedError(f"needs at least two learning rates; there is {measured.evals['lr'].iloc[0]:g}")
    frame = mean_accuracy(measured.evals)
    last = frame["tasks_seen"].max()
    num_tasks = min(last, measured.evals["num_tasks"].max())  # a stream with cycles sees them again
    y = Axis(column="accuracy", label=f"mean accuracy over {num_tasks} tasks")
    figure = curves(frame[frame["tasks_seen"] == last], Axis(column="lr", label="learning rate"), y, marker="o")
    figure.axes[0].set(xscale="log", ylim=(0, 1))
    return finish(figure, "Sensitivity to the learning rate", frame, measured.evals)

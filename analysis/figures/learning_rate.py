"""Mean accuracy at the end against the learning rate."""

from matplotlib.figure import Figure

from analysis.figures.base import Axis, UnsupportedError, curves, finish
from analysis.tables import Measured, mean_accuracy, trials_of


def draw(measured: Measured) -> Figure:
    """One panel for each width, one curve for each context, over learning rates.

    Raises:
        UnsupportedError: no curve has two learning rates.
    """
    if trials_of(measured.evals).groupby(["context", "width"])["lr"].nunique().max() < 2:
        raise UnsupportedError("needs at least two learning rates of one context and width")
    frame = mean_accuracy(measured.evals)
    last = frame["tasks_seen"].max()
    num_tasks = min(last, measured.evals["num_tasks"].max())  # a stream with cycles sees them again
    y = Axis(column="accuracy", label=f"mean accuracy over {num_tasks} tasks")
    figure = curves(frame[frame["tasks_seen"] == last], Axis(column="lr", label="learning rate"), y, marker="o")
    figure.axes[0].set(xscale="log", ylim=(0, 1))
    return finish(figure, "Sensitivity to the learning rate", frame, measured.evals)

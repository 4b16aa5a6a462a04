"""Mean accuracy against the number of tasks stored: the capacity curve."""

from matplotlib.figure import Figure

from analysis.figures.base import Axis, UnsupportedError, curves, finish, refuse_cycles
from analysis.tables import Measured, mean_accuracy


def draw(measured: Measured) -> Figure:
    """One panel for each width, one curve for each context.

    Raises:
        UnsupportedError: no trial measured more than one number of tasks in full, or a stream has cycles.
    """
    refuse_cycles(measured.evals, "the number of tasks stored no longer grows; see first-task")
    frame = mean_accuracy(measured.best_lr)
    if frame["tasks_seen"].nunique() < 2:
        raise UnsupportedError("needs all tasks measured after at least two numbers of tasks (eval_tasks: all)")
    y = Axis(column="accuracy", label="mean accuracy over all of them")
    figure = curves(frame, Axis(column="tasks_seen", label="number of tasks stored"), y)
    figure.axes[0].set_ylim(0, 1)
    return finish(figure, "Capacity: how many tasks fit in one set of weights", frame, measured.evals)

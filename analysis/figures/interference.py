"""Accuracy lost against lag: how much a task suffers from each further one."""

from matplotlib.figure import Figure

from analysis.figures.base import Axis, UnsupportedError, curves, finish, refuse_cycles
from analysis.tables import Measured, interference


def draw(measured: Measured) -> Figure:
    """One panel for each width, one curve for each context.

    Raises:
        UnsupportedError: no task was measured again after a later one, or a stream has cycles.
    """
    refuse_cycles(measured.evals, "a task that is trained again has no lag; see first-task")
    frame = interference(measured.best_lr)
    if frame.empty:
        raise UnsupportedError("needs a task that was measured again after a later one")
    y = Axis(column="lost", label="accuracy lost, mean over tasks")
    figure = curves(frame, Axis(column="lag", label="lag: tasks trained since"), y)
    return finish(figure, "Interference: accuracy lost as later tasks are trained", frame, measured.evals)

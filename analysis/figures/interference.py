"""Draws the accuracy that a task loses against lag, the number of tasks trained since."""

from matplotlib.figure import Figure

from analysis.figures.base import SIGNED, Axis, UnsupportedError, curves, fit_lines, refuse_cycles
from analysis.figures.styles import styled
from analysis.measured import Measured
from analysis.tables import interference


@styled
def draw(measured: Measured) -> Figure:
    """Curves over the number of tasks trained since.

    Raises:
        UnsupportedError: no task was measured again after a later one, or a stream has cycles.
    """
    refuse_cycles(measured.evals, "a task that is trained again has no lag; see first-task")
    frame = interference(measured.best_lr)
    if frame.empty:
        raise UnsupportedError("needs a task that was measured again after a later one")
    x = Axis(column="lag", label="lag: tasks trained since")
    y = Axis(column="lost", label="accuracy lost, mean over tasks")
    figure = curves(measured, frame, x, y, title="Interference: accuracy lost as later tasks are trained", left=SIGNED)
    fit_lines(figure.axes)
    return figure

"""Draws forgetting: what tasks have lost of their best accuracy, against the number of tasks trained."""

from matplotlib.figure import Figure

from analysis.figures.base import SIGNED, Axis, UnsupportedError, curves, fit_lines, refuse_cycles
from analysis.figures.styles import styled
from analysis.measured import Measured
from analysis.transfer import forgetting_so_far


@styled
def draw(measured: Measured) -> Figure:
    """Curves over the number of tasks trained.

    Raises:
        UnsupportedError: old tasks were not all measured after two tasks or more; or a stream has cycles.
    """
    refuse_cycles(measured.evals, "its tasks are trained again; see first-task")
    frame = forgetting_so_far(measured.best_lr)
    if frame["tasks_seen"].nunique() < 2:
        raise UnsupportedError("needs all tasks measured after each of at least three (eval_tasks: all)")
    x = Axis(column="tasks_seen", label="number of tasks trained")
    y = Axis(column="forgetting", label="forgetting, mean over old tasks")
    note = "Forgetting: a task's best accuracy before, less its accuracy now."
    figure = curves(measured, frame, x, y, title="Forgetting: what old tasks have lost", note=note, left=SIGNED)
    fit_lines(figure.axes)
    return figure

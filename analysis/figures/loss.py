"""Draws the training loss of the task in training, with the moments at which tasks begin."""

from matplotlib.figure import Figure

from analysis.figures.base import Axis, OtherStudyError, count_steps, curves
from analysis.figures.styles import styled
from analysis.figures.through_time import mark_boundaries
from analysis.measured import Measured
from analysis.tables import train_loss


@styled
def draw(measured: Measured) -> Figure:
    """Curves over optimiser steps; each value is the mean since the one before.

    Raises:
        OtherStudyError: nothing was measured within tasks (`eval_every`), or by a psp that kept no training loss.
    """
    evals = measured.best_lr
    frame = train_loss(evals, measured.curves)
    if frame.empty:
        raise OtherStudyError("needs trials with eval_every")
    x, y = Axis(column="step", label="optimiser steps"), Axis(column="loss", label="training loss (nats)")
    lengths = evals.loc[evals["trial_id"].isin(frame["trial_id"]), "steps_per_task"].unique()
    note = "Vertical lines: a task begins." if len(lengths) == 1 else ""
    figure = curves(measured, frame, x, y, title="Training loss of the task in training", note=note)
    for axes in figure.axes:
        if len(lengths) == 1:
            mark_boundaries(axes, int(-(-frame["step"].max() // lengths[0])), int(lengths[0]))
        axes.set_ylim(bottom=0)
        count_steps(axes)
    return figure

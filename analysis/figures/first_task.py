"""Draws the accuracy of task 0 as later tasks are trained, as in the paper's Figs. 2 to 6."""

from matplotlib.figure import Figure

from analysis.figures.base import Axis, UnsupportedError, count_steps, curves, mark_level
from analysis.figures.styles import styled
from analysis.measured import Measured
from analysis.tables import first_task, first_task_by_step


@styled
def draw(measured: Measured) -> Figure:
    """Curves over the number of tasks.

    The curves run over optimiser steps where the stream has cycles, or trials were measured within tasks
    (`eval_every`).

    Raises:
        UnsupportedError: one task alone was trained.
    """
    evals = measured.best_lr
    frame = first_task(evals)
    if frame["tasks_seen"].nunique() < 2:
        raise UnsupportedError("needs at least two tasks")
    is_often = evals["eval_every"].notna().any()
    setup = evals.iloc[0]
    what = "accuracy at 0 degrees" if setup["stream"] == "rotating" else "accuracy on task 0"
    title = "Interference: what later tasks leave of the first"
    x = Axis(column="tasks_seen", label="number of tasks trained")
    cycle = None
    if is_often or setup["num_cycles"] > 1:
        frame = first_task_by_step(evals, measured.curves)
        x = Axis(column="step", label="optimiser steps")
    if setup["num_cycles"] > 1:
        title = f"{what.capitalize()} over {setup['num_cycles']} cycles of {setup['num_tasks']} tasks"
        cycle = int(setup["num_tasks"] * setup["steps_per_task"])
    figure = curves(measured, frame, x, Axis(column="accuracy", label=what), title=title, cycle=cycle)
    figure.axes[0].set_ylim(0, 1)
    for axes in figure.axes:
        mark_level(axes, measured.chance, "chance")
        if x.column == "step":
            count_steps(axes)
    return figure

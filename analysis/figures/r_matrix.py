"""Draws the accuracy on every task after every task: the matrix R of which all else is made, a map for each curve."""

from typing import Final

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from analysis.captions import caption
from analysis.figures.base import UnsupportedError, each_curve, refuse_cycles
from analysis.figures.heatmap import add_bar
from analysis.figures.layout import Texts, sheet
from analysis.figures.styles import current, styled
from analysis.measured import Measured
from analysis.roles import values_of

NARROWEST: Final = 1.0  # inches
RIGHT: Final = 0.55  # inches for the bar


@styled
def draw(measured: Measured) -> Figure:
    """Rows are the number of tasks trained, columns are tasks, from 1; a mean over seeds, blank where not measured.

    Raises:
        UnsupportedError: fewer than two tasks were measured, or there are too many curves; or a stream has cycles.
    """
    refuse_cycles(measured.evals, "a task is trained again; see first-task")
    evals = measured.best_lr
    frame = measured.beside(evals.astype({"trial_id": object}))
    if frame["task"].nunique() < 2 or frame["tasks_seen"].nunique() < 2:
        raise UnsupportedError("needs at least two tasks, measured after each other (eval_tasks: all)")
    maps = each_curve(frame, measured.roles.settings)
    page = current().page
    columns = min(len(values_of(frame, measured.roles.hue)), len(maps), int((page - RIGHT) / NARROWEST))
    wide = (page - RIGHT) / columns
    text = caption(measured, frame, "Blank: not measured.", shown_as=None)
    texts = Texts(title=measured.titled("Accuracy on each task after each task"), caption=text)
    figure, grid = sheet(
        [name for name, _ in maps], texts, columns=columns, width=page, height=min(0.8 * wide, 1.6), right=RIGHT
    )
    number = int(frame["tasks_seen"].max())
    edges = np.arange(number + 1) + 0.5
    for axes, (_, rows) in zip(grid, maps, strict=True):
        table = rows.pivot_table(index="tasks_seen", columns="task", values="accuracy", observed=True)
        every = table.reindex(index=range(1, number + 1), columns=range(number))
        image = axes.pcolormesh(edges, edges, every, vmin=0, vmax=1, cmap="viridis", rasterized=True)
        _name(axes)
    grid[0].set_ylim(number + 0.5, 0.5)
    add_bar(figure, grid[columns - 1], image, "accuracy")
    return figure


def _name(axes: Axes) -> None:
    axes.set_xlabel("task")
    axes.grid(visible=False)
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_locator(MaxNLocator(4, integer=True))
    if axes.get_subplotspec().is_first_col():  # type: ignore[union-attr]
        axes.set_ylabel("tasks trained")

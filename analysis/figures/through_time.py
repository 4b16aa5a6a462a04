"""Draws the accuracy of some tasks through training, with the moments at which tasks begin."""

from typing import Final

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from analysis.captions import caption
from analysis.figures.base import Axis, UnsupportedError, draw_curve, each_curve, mark_level, name_axes, refuse_cycles
from analysis.figures.layout import Key, Texts, sheet
from analysis.figures.looks import looks_of_numbers
from analysis.figures.styles import styled
from analysis.measured import Measured
from analysis.tables import over_seeds, through_time

MOST_PANELS: Final = 12
MOST_TASKS: Final = 5
MOST_BOUNDARIES: Final = 30


@styled
def draw(measured: Measured) -> Figure:
    """A panel for each curve, a line for each of at most MOST_TASKS tasks, from 1.

    Raises:
        UnsupportedError: no task was measured twice, or there are too many curves; or a stream has cycles.
    """
    refuse_cycles(measured.evals, "a task is trained again; see first-task")
    frame = measured.beside(through_time(measured.best_lr, measured.curves))
    shown = _some_tasks(frame)
    if not shown:
        raise UnsupportedError("needs at least two tasks, of which one was measured again after a later one")
    frame = frame[frame["task"].isin(shown)]
    panels = each_curve(frame, measured.roles.settings, MOST_PANELS)
    looks = looks_of_numbers([task + 1 for task in shown])
    key = Key(title="accuracy on task", looks={str(number): look for number, look in looks.items()})
    note = "Vertical lines: a task begins."
    texts = Texts(
        title=measured.titled("Accuracy on single tasks through training"),
        caption=caption(measured, frame, note, x="time"),
        keys=[key],
    )
    figure, grid = sheet([name for name, _ in panels], texts)
    for axes, (_, rows) in zip(grid, panels, strict=True):
        for place, (number, look) in enumerate(looks.items()):
            some = rows[rows["task"] == number - 1]
            draw_curve(axes, over_seeds(some, ["time"], "accuracy"), "time", look, place)
        mark_boundaries(axes, int(np.ceil(frame["time"].max())))
        axes.xaxis.set_major_locator(MaxNLocator(5, integer=True))
        mark_level(axes, measured.chance, "chance")
        axes.set_ylim(0, 1)
    name_axes(grid, Axis(column="time", label="tasks trained"), Axis(column="accuracy", label="accuracy"))
    return figure


def _some_tasks(frame: pd.DataFrame) -> list[int]:
    """The first task, the last one that was measured twice, and some between."""
    times = frame.groupby("task")["time"].nunique()
    tasks = times[times > 1].index.to_numpy()
    places = np.linspace(0, len(tasks) - 1, min(MOST_TASKS, len(tasks))).round().astype(int)
    return [int(task) for task in tasks[places]]


def mark_boundaries(axes: Axes, number: int, length: int = 1) -> None:
    """Put a vertical line where each of so many tasks of this length begins, or where some of them do."""
    every = -(-number // MOST_BOUNDARIES)
    for task in range(0, number + 1, every):
        axes.axvline(task * length, color="0.8", linewidth=0.5, zorder=0.5)
    axes.xaxis.grid(visible=False)

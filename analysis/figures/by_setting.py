"""Draws capacity and accuracy against a setting of the study: width, depth, learning rate, or any other."""

from collections.abc import Callable, Mapping
from typing import Any, Final

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from analysis.captions import caption
from analysis.figures.base import (
    LETTER_INCHES,
    Axis,
    Curves,
    OtherStudyError,
    UnsupportedError,
    draw_points,
    is_geometric,
    mark_level,
    mark_settings,
    name_axes,
    refuse_cycles,
    settings_axis,
)
from analysis.figures.layout import Texts, panel_inches, sheet
from analysis.figures.looks import Look, unjoined
from analysis.figures.styles import styled
from analysis.measured import Measured, with_chance
from analysis.roles import is_number, name_of, text_of, values_of
from analysis.tables import THRESHOLD, capacity, mean_accuracy, over_seeds

STEP: Final = 0.012  # the distance between curves that else would overlap, as a share of the axis


DrawOne = Callable[[Axes, pd.DataFrame, str, Look], None]


@styled
def draw_capacity(measured: Measured, x: str) -> Figure:
    """How many tasks stay at 90% of a single task's accuracy: the median seed, and the seeds' range.

    Capacities are whole numbers, and at most the number of tasks trained. So a mean and its interval would mislead.
    Where the median seed kept all tasks, its capacity is a lower bound.

    Raises:
        OtherStudyError: x is the width, against which `law` has the same capacities.
        UnsupportedError: no curve has two values of x with all tasks measured after each task; or a stream has cycles.
    """
    if x == "width":
        raise OtherStudyError("the figure law has capacity by width")
    refuse_cycles(measured.evals, "the number of tasks stored no longer grows; see first-task")
    measured = measured.against(x)
    frame = measured.beside(capacity(measured.best_lr, THRESHOLD))
    refuse_short(frame, measured, x, " with all tasks measured after each one (eval_tasks: all)")
    most = int(frame["num_tasks"].max())
    figure = _draw(
        measured,
        frame,
        x,
        y=Axis(column="capacity", label="capacity (tasks)"),
        title=f"Capacity: most tasks with a mean accuracy of {THRESHOLD:.0%} of a single task's",
        note="Points: the median seed; bars: lowest to highest seed; open points: at least so many, for all "
        "tasks that were trained were kept.",
        draw_one=_draw_median,
    )
    for axes in figure.axes:
        axes.set_ylim(0, most * 1.12)
        axes.yaxis.set_major_locator(MaxNLocator(5, integer=True))
        mark_level(axes, most, f"≥ {most}: all tasks trained")
    return figure


@styled
def draw_accuracy(measured: Measured, x: str) -> Figure:
    """Mean accuracy over all tasks after the last one.

    Raises:
        UnsupportedError: no curve has two values of x.
    """
    measured = measured.against(x)
    evals = measured.evals if x == "lr" else measured.best_lr
    frame = mean_accuracy(evals)
    frame = measured.beside(frame[frame["tasks_seen"] == frame["tasks_seen"].max()])
    if x == "lr" and not measured.diverged.empty:
        lost = with_chance(measured.diverged)
        frame = pd.concat([frame, lost[[c for c in frame if c in lost]].assign(accuracy=lost["chance"])])
    refuse_short(frame, measured, x)
    num_tasks = min(frame["tasks_seen"].max(), measured.evals["num_tasks"].max())  # cycles see them again
    figure = _draw(
        measured,
        frame,
        x,
        y=Axis(column="accuracy", label=f"mean accuracy over {num_tasks:.0f} tasks"),
        title="Sensitivity to the learning rate" if x == "lr" else f"Mean accuracy by {name_of(x) or 'context'}",
        draw_one=_draw_mean,
    )
    for axes in figure.axes:
        axes.set_ylim(0, 1)
        mark_level(axes, measured.chance, "chance")
    return figure


@styled
def draw_lr(measured: Measured) -> Figure:
    """Mean accuracy at the end against the learning rate."""
    return draw_accuracy(measured, "lr")


def refuse_short(frame: pd.DataFrame, measured: Measured, x: str, how: str = "") -> None:
    """Refuse trials of which no curve has two values of x.

    Raises:
        UnsupportedError: there is no such curve, and the user asked for x or could measure more (`how`).
        OtherStudyError: there is no such curve.
    """
    others = [setting for setting in measured.settings if setting != x]
    if x not in frame or frame.groupby(others, dropna=False)[x].nunique().max() < 2 or frame.empty:
        reason = f"needs a curve with at least two values of {x}{how}"
        raise (UnsupportedError if how or measured.roles.is_chosen else OtherStudyError)(reason)


def _draw(
    measured: Measured, frame: pd.DataFrame, x: str, *, y: Axis, title: str, draw_one: DrawOne, note: str = ""
) -> Figure:
    """Draw the curves' points, shifted a little, so that no curve hides another."""
    values = values_of(frame, x)
    if all(is_number(value) or value is None for value in values) and None in values:
        note = f"{note} Not shown: what has no {name_of(x)}.".strip()
        frame, values = frame[frame[x].notna()], [value for value in values if value is not None]
    axis, places = settings_axis(values, x)
    at = [places[value] for value in values]
    is_log = all(map(is_number, values)) and is_geometric(at)
    shown = Curves(frame.assign(place=frame[x].map(places).astype(float)), measured.roles)
    of_means = draw_one is _draw_mean
    shown_as = "bars" if of_means else None
    text = caption(measured, shown.frame, note, x=x, shown_as=shown_as, of_means=of_means)
    texts = Texts(title=measured.titled(title), caption=text, keys=shown.keys())
    panels = shown.panels
    longest = max(len(text_of(value)) for value in values)
    names = len(values) * (longest + 2) * LETTER_INCHES
    turned = not all(map(is_number, values)) and names > panel_inches(len(panels))
    below = 0.42 + (0.5 * longest * LETTER_INCHES if turned else 0)
    figure, grid = sheet([name for name, _ in panels], texts, below=below)
    for axes, (_, rows) in zip(grid, panels, strict=True):
        mark_settings(axes, places, turned)
        every = list(shown.of(rows))
        for index, (look, some) in enumerate(every):
            shift = STEP * (index - (len(every) - 1) / 2)
            joined = look if all(map(is_number, values)) else unjoined(look)
            draw_one(axes, some.assign(place=_shifted(some["place"], at, shift, is_log)), y.column, joined)
    name_axes(grid, axis, y)
    return figure


def _shifted(places: "pd.Series[float]", at: list[float], share: float, is_log: bool) -> list[float]:
    """Places on the axis, moved by a share of its length."""
    if is_log:
        return [place * (max(at) / min(at)) ** share for place in places]
    return [place + share * (max(at) - min(at) or 1) for place in places]


def _draw_mean(axes: Axes, some: pd.DataFrame, y: str, look: Look) -> None:
    draw_points(axes, over_seeds(some, ["place"], y), "place", look, 0)


def _draw_median(axes: Axes, some: pd.DataFrame, y: str, look: Look) -> None:
    """A line through the seeds' medians, the seeds' range, and open points where the median is a lower bound."""
    groups = some.groupby("place")
    median, low, high = (groups[y].quantile(q, interpolation="lower") for q in (0.5, 0, 1))
    places = median.index.to_numpy()
    bars = [median - low, high - median]
    axes.errorbar(places, median, bars, fmt="none", ecolor=look.colour, elinewidth=0.8, capsize=1.5)
    axes.plot(places, median, **look.line())
    is_all = (median >= groups["num_tasks"].max()).to_numpy()
    for which, face in ((~is_all, look.colour), (is_all, "white")):
        options: Mapping[str, Any] = {"marker": look.marker, "color": look.colour, "markerfacecolor": face, "zorder": 3}
        axes.plot(places[which], np.asarray(median)[which], linestyle="none", **options)

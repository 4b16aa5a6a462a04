"""Draws mean accuracy against what it costs: a line for each method, and the trials that nothing beats for less."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import EngFormatter, LogLocator, NullLocator

from analysis.captions import caption
from analysis.figures.base import Axis, Curves, OtherStudyError, mark_level, name_axes, refuse_cycles
from analysis.figures.layout import Texts, sheet
from analysis.figures.styles import current
from analysis.measured import Measured
from analysis.tables import mean_accuracy, over_seeds

SIZES: Final = ("max_bytes", "width")
"""What makes the points of a line, of which the first is taken that a study has."""
MANY: Final = 8
"""More curves have a page's width, so that their names stand side by side."""
FRONT: Final[dict[str, Any]] = {"color": "0.75", "linewidth": 3.0, "solid_capstyle": "round", "zorder": 0.8}
RING: Final[dict[str, Any]] = {
    "marker": "o", "markersize": 7, "markerfacecolor": "none", "markeredgecolor": "0.25", "markeredgewidth": 0.7,
    "linestyle": "none", "zorder": 3, "gid": "front",
}  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Price:
    """What accuracy is drawn against.

    Attributes:
        columns: of the store's `trials`, from which `of` finds the price.
        of: the price of each row's `tasks_seen` tasks, of `num_tasks`.
        label: the axis' name.
        unit: of its numbers; empty for counts.
        title: of the figure.
        note: the caption's first sentence.
        limit: the setting that limits it, at which all methods are alike: where a study has it, it is drawn in the
            place of the price, for a method that comes nearer to it is no dearer.
    """

    columns: Sequence[str]
    of: Callable[[pd.DataFrame], "pd.Series[float]"]
    label: str
    unit: str
    title: str
    note: str
    limit: str | None = None


def draw_front(measured: Measured, price: Price) -> Figure:
    """A panel for each value of the settings that have panels, after the most tasks that all curves have seen.

    Raises:
        OtherStudyError: there is one curve alone, prices are not known, or a stream has cycles.
    """
    refuse_cycles(measured.evals, "its tasks are trained more than once")
    trials = measured.trials
    columns = [*price.columns, "num_tasks"]
    if trials.empty or not {*columns} <= {*trials} or trials[list(price.columns)].isna().any(axis=1).all():
        raise OtherStudyError("needs trials whose costs are known")
    size = next((name for name in SIZES if name in measured.roles.settings), None)
    measured = measured.against(size) if size else measured
    frame = mean_accuracy(measured.best_lr)
    seen = frame.groupby("trial_id")["tasks_seen"].transform("max").min()
    frame = measured.beside(frame[frame["tasks_seen"] == seen])
    costs = trials.set_index("trial_id")[columns].astype(float).loc[frame["trial_id"]].reset_index(drop=True)
    frame = frame.reset_index(drop=True).assign(**{name: costs[name] for name in columns})
    is_limit = size is not None and size == price.limit and bool((frame["tasks_seen"] == frame["num_tasks"]).all())
    frame = frame.assign(price=frame[size].astype(float) if is_limit else price.of(frame)).dropna(subset="price")
    shown = Curves(frame, measured.roles)
    if not any(rows["context"].nunique() > 1 or rows["price"].nunique() > 1 for _, rows in shown.panels):
        raise OtherStudyError("needs methods or widths of different costs")
    return _panels(measured, shown, price, [size] if size else [])


def on_front(price: "pd.Series[float]", accuracy: "pd.Series[float]") -> "pd.Series[bool]":
    """Which points no other beats: none costs as little and is more accurate, or costs less and is as accurate."""
    order = pd.DataFrame({"price": price, "accuracy": -accuracy}).sort_values(["price", "accuracy"]).index
    best = accuracy.loc[order].astype(float).cummax().shift(fill_value=-np.inf)
    return (accuracy.loc[order] > best).reindex(price.index)


def _panels(measured: Measured, shown: Curves, price: Price, size: list[str]) -> Figure:
    seen = int(shown.frame["tasks_seen"].iloc[0])
    several = "Points of a line: widths." if size == ["width"] else ""
    note = f"{price.note} {several} Rings, joined in grey: nothing drawn is more accurate for less.".replace("  ", " ")
    texts = Texts(
        title=measured.titled(f"{price.title}: {seen} task{'s' if seen > 1 else ''}"),
        caption=caption(measured, shown.frame, note, x=size[0] if size else "", shown_as="bars"),
        keys=shown.keys(),
    )
    panels, prices = shown.panels, shown.frame["price"]
    marks = (1, 3) if prices.max() < 50 * prices.min() else (1,)
    is_wide = len(panels) > 1 or sum(len(key.looks) for key in texts.keys) > MANY
    height = None if len(panels) > 1 else 2.4
    width = current().page if is_wide else current().column
    figure, grid = sheet([name for name, _ in panels], texts, width=width, height=height, right=0.2)
    for axes, (_, rows) in zip(grid, panels, strict=True):
        _panel(axes, shown, rows, size)
        axes.set(xscale="log", ylim=(0, 1))
        axes.xaxis.set_major_locator(LogLocator(subs=marks, numticks=6))
        axes.xaxis.set_minor_locator(NullLocator())
        axes.xaxis.set_major_formatter(EngFormatter(unit=price.unit, places=0, sep=" " if price.unit else ""))
        mark_level(axes, measured.chance, "chance")
    name_axes(grid, Axis(column="price", label=price.label), Axis(column="accuracy", label="mean accuracy"))
    return figure


def _panel(axes: Axes, shown: Curves, rows: pd.DataFrame, size: list[str]) -> None:
    every = []
    for look, some in shown.of(rows):
        points = over_seeds(some, size or ["context"], "accuracy")
        means = some.groupby(size or ["context"], dropna=False, observed=True)["price"].mean()
        points = points.assign(price=means.to_numpy()).sort_values("price")
        half = (points["high"] - points["mean"]).fillna(0)
        axes.errorbar(
            points["price"], points["mean"], half, **look.line(), **look.points(), capsize=1.2, elinewidth=0.6
        )
        every.append(points[["price", "mean"]])
    points = pd.concat(every, ignore_index=True)
    front = points[on_front(points["price"], points["mean"])].sort_values("price")
    axes.plot(front["price"], front["mean"], drawstyle="steps-post", **FRONT)
    axes.plot(front["price"], front["mean"], **RING)

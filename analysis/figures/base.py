"""Draws curves of means over seeds: a panel for each value of one setting, a look for each value of another."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, NullLocator, StrMethodFormatter

from analysis.captions import caption
from analysis.figures.layout import LEFT, Key, Texts, sheet
from analysis.figures.looks import GREY, Look, dashed, looks_of_contexts, looks_of_names, looks_of_numbers
from analysis.measured import Measured
from analysis.roles import Roles, in_order, is_number, name_of, said, text_of, values_of
from analysis.tables import over_seeds

MOST_POINTS: Final = 100  # a curve of more points has a thinner line
SIGNED: Final = 0.6  # inches at the left for numbers with a sign
LETTER_INCHES: Final = 0.055  # the width of a letter on an axis
MANY_CYCLES: Final = 8
WIDE: Final = 0.2
MARKED: Final = 7  # markers on a curve that has more than twice as many points


class UnsupportedError(Exception):
    """The stored trials do not support a figure. The message is the reason."""


class OtherStudyError(UnsupportedError):
    """The figure is for another kind of study. Users are not told: no further trial of this study would help."""


def refuse_cycles(evals: pd.DataFrame, reason: str) -> None:
    """Refuse streams with cycles.

    Raises:
        OtherStudyError: the stream goes through its tasks more than once.
    """
    cycles = evals["num_cycles"].max()
    if cycles > 1:
        raise OtherStudyError(f"the stream goes through its tasks {cycles} times, and {reason}")


@dataclass(frozen=True, kw_only=True)
class Axis:
    """A column of a frame, and its name in the figure."""

    column: str
    label: str


@dataclass(frozen=True)
class Curves:
    """The rows of a frame by panel and by look.

    Attributes:
        frame: one row for each trial and point, with the settings of the roles.
        roles: how the figure shows settings.
    """

    frame: pd.DataFrame
    roles: Roles

    @property
    def panels(self) -> list[tuple[str, pd.DataFrame]]:
        """Each panel's title and rows. Without a setting for panels there is one panel, without a title."""
        setting = self.roles.panel
        if setting is None:
            return [("", self.frame)]
        values = values_of(self.frame, setting)
        return [(said(setting, value), self.frame[alike(self.frame[setting], value)]) for value in values]

    @property
    def by(self) -> list[str]:
        """The settings that tell the curves of a panel apart."""
        return [setting for setting in (self.roles.hue, self.roles.dashes) if setting is not None]

    @property
    def hues(self) -> dict[Any, Look]:
        """A look for each value of the colour's setting."""
        values = values_of(self.frame, self.roles.hue)
        every = in_order({*values, *self.roles.every.get(self.roles.hue, ())})
        looks: dict[Any, Look]
        if self.roles.hue == "context":
            looks = dict(looks_of_contexts(every))
        elif all(map(is_number, every)):
            looks = dict(looks_of_numbers(every))
        else:
            looks = dict(looks_of_names(every))
        return {value: replace(looks[value], label=text_of(value)) for value in values}

    @property
    def dashes(self) -> list[Any]:
        """The values that have dashes of their own."""
        return values_of(self.frame, self.roles.dashes) if self.roles.dashes else []

    def of(self, rows: pd.DataFrame) -> Iterator[tuple[Look, pd.DataFrame]]:
        """The curves in these rows, each with its look, in the order of the legend."""
        for place, dashes in enumerate(self.dashes or [None]):
            looks = dashed(self.hues, place) if self.dashes else self.hues
            for value, look in looks.items():
                some = rows[alike(rows[self.roles.hue], value)]
                if self.roles.dashes:
                    some = some[alike(some[self.roles.dashes], dashes)]
                if not some.empty:
                    yield look, some

    def keys(self, *, lines: bool = True, markers: bool = True) -> list[Key]:
        """The legend."""
        hues = dashed(self.hues, 0) if self.dashes else self.hues
        named = {text_of(value): look for value, look in hues.items()}
        keys = [Key(title=name_of(self.roles.hue), looks=named, lines=lines, markers=markers)]
        if self.dashes:
            plain = Look(colour=GREY, marker="", dashes=())
            looks = {text_of(value): dashed({0: plain}, place)[0] for place, value in enumerate(self.dashes)}
            keys.append(Key(title=name_of(str(self.roles.dashes)), looks=looks))
        return keys


def alike(values: "pd.Series[Any]", value: object) -> "pd.Series[bool]":
    """Where a setting has this value. None stands for NaN."""
    return values.isna() if value is None else values == value


def each_curve(frame: pd.DataFrame, settings: Sequence[str], most: int = 24) -> list[tuple[str, pd.DataFrame]]:
    """The name and the rows of each curve, for a figure with a panel for each.

    Raises:
        UnsupportedError: there are more than so many.
    """
    found = [("", frame)]
    for setting in settings:
        found = [
            (f"{name}, {said(setting, value)}" if name else said(setting, value), some)
            for name, rows in found
            for value in values_of(rows, setting)
            if not (some := rows[alike(rows[setting], value)]).empty
        ]
    if len(found) > most:
        raise UnsupportedError(f"would be {len(found)} panels; draw fewer curves with --select")
    return found


def curves(
    measured: Measured,
    frame: pd.DataFrame,
    x: Axis,
    y: Axis,
    *,
    title: str,
    note: str = "",
    cycle: int | None = None,
    left: float = LEFT,
) -> Figure:
    """Mean over seeds with its 95% interval against x.

    Args:
        measured: the experiment.
        frame: one row for each trial and value of x.
        x: the horizontal axis.
        y: the vertical axis.
        title: the figure's title.
        note: the caption's first sentences.
        cycle: as in `draw_curves`.
        left: as in `draw_curves`.
    """
    shown = Curves(measured.beside(frame), measured.roles)
    note = f"{note} {about_areas(shown, x, y, cycle)}".strip()
    text = caption(measured, shown.frame, note, x=x.column)
    return draw_curves(shown, x, y, Texts(title=measured.titled(title), caption=text, keys=shown.keys()), cycle, left)


def draw_curves(shown: Curves, x: Axis, y: Axis, texts: Texts, cycle: int | None = None, left: float = LEFT) -> Figure:
    """A panel for each value of a setting; in each panel a line and a band for each curve.

    Args:
        shown: one row for each trial and value of x.
        x: the horizontal axis.
        y: the vertical axis.
        texts: the texts around the panels.
        cycle: the length of the stream's cycle, in units of x. A curve that swings widely within cycles is drawn as an
            area.
        left: inches for the names on the vertical axis.
    """
    panels = shown.panels
    figure, grid = sheet([name for name, _ in panels], texts, left=left)
    for axes, (_, rows) in zip(grid, panels, strict=True):
        for place, (look, some) in enumerate(shown.of(rows)):
            summary = over_seeds(some, [x.column], y.column)
            if cycle and swings(summary, x.column, cycle):
                draw_area(axes, summary, x.column, look, cycle)
            else:
                draw_curve(axes, summary, x.column, look, place)
    name_axes(grid, x, y)
    return figure


def about_areas(shown: Curves, x: Axis, y: Axis, cycle: int | None) -> str:
    """The caption's sentence about curves that are drawn as areas."""
    swinging = {
        text_of(some[shown.roles.hue].iloc[0])
        for _, rows in (shown.panels if cycle else ())
        for _, some in shown.of(rows)
        if cycle and swings(over_seeds(some, [x.column], y.column), x.column, cycle)
    }
    if not swinging:
        return ""
    return f"Area: {', '.join(sorted(swinging))}, which swings from its lowest to its highest value in each cycle."


def swings(summary: pd.DataFrame, x: str, cycle: int) -> bool:
    """Whether a curve swings so widely within cycles, and so often, that its line would hide other curves."""
    ends = _ends(summary, x, cycle)
    return len(ends) > MANY_CYCLES and bool((ends["max"] - ends["min"]).median() > WIDE)


def draw_area(axes: Axes, summary: pd.DataFrame, x: str, look: Look, cycle: int) -> None:
    """The area between a curve's lowest and highest value of each cycle, behind all else."""
    ends = _ends(summary, x, cycle)
    axes.fill_between(ends.index, ends["min"], ends["max"], color=look.colour, alpha=0.25, lw=0, zorder=0.5)
    for name in ("min", "max"):
        axes.plot(ends.index, ends[name], **look.line(), linewidth=0.6, zorder=0.6)


def _ends(summary: pd.DataFrame, x: str, cycle: int) -> pd.DataFrame:
    """The lowest and highest mean of each cycle, by the cycle's middle."""
    number = (summary[x] - 1) // cycle
    return summary.groupby((number + 0.5) * cycle)["mean"].agg(["min", "max"])


def draw_curve(axes: Axes, summary: pd.DataFrame, x: str, look: Look, place: int) -> None:
    """A line with some markers, and the intervals as a band."""
    count = len(summary)
    every = 1 if count <= 2 * MARKED else max(1, count // MARKED)
    start = (place * every // 5) % every  # so that markers of curves on top of one another stand apart
    line: dict[str, Any] = look.line() | look.points() | {"markevery": (start, every)}
    if count > MOST_POINTS:
        line["linewidth"] = 0.7
    axes.plot(summary[x], summary["mean"], **line)
    axes.fill_between(summary[x], summary["low"], summary["high"], color=look.colour, alpha=0.18, lw=0)


def draw_points(axes: Axes, summary: pd.DataFrame, x: str, look: Look, place: int) -> None:
    """A line through points, and the intervals as bars."""
    half = (summary["high"] - summary["mean"]).fillna(0)
    axes.errorbar(summary[x], summary["mean"], half, **look.line(), **look.points(), capsize=1.5, elinewidth=0.8)


def name_axes(grid: Sequence[Axes], x: Axis, y: Axis) -> None:
    """Name the axes."""
    for axes in grid:
        axes.set_xlabel(x.label)
        if x.column in ("tasks_seen", "lag"):
            axes.xaxis.set_major_locator(MaxNLocator(4, integer=True))  # there is no half task
        if axes.get_subplotspec().is_first_col():  # type: ignore[union-attr]
            axes.set_ylabel(y.label)


def fit_lines(grid: Sequence[Axes]) -> None:
    """Have a vertical axis for the lines: an interval of two seeds may reach far beyond all of them."""
    heights = np.concatenate([np.asarray(line.get_ydata(), dtype=float) for axes in grid for line in axes.get_lines()])
    low, high = min(0.0, float(np.nanmin(heights))), max(0.0, float(np.nanmax(heights)))
    pad = max(0.1 * (high - low), 0.02)
    grid[0].set_ylim(low - pad, high + pad)


def count_steps(axes: Axes) -> None:
    """Put few marks on an axis of optimiser steps, because their numbers are long."""
    axes.xaxis.set_major_locator(MaxNLocator(4, steps=[1, 2, 5, 10]))
    axes.xaxis.set_major_formatter(StrMethodFormatter("{x:,.0f}"))


def mark_level(axes: Axes, level: float | None, name: str, *, at_left: bool = False) -> None:
    """Where the level is known: a dotted line across a panel, with a name at its right or left end."""
    if level is None:
        return
    axes.axhline(level, color="0.35", linestyle=":", linewidth=0.8, zorder=1)
    place: dict[str, Any] = {"transform": axes.get_yaxis_transform(), "fontsize": 6, "color": "0.35"}
    axes.text(0.01 if at_left else 0.99, level + 0.008, name, va="bottom", ha="left" if at_left else "right", **place)


def settings_axis(values: Sequence[Any], setting: str) -> tuple[Axis, Mapping[Any, float]]:
    """The axis of a setting, and the place of each value: numbers to scale, names side by side."""
    places = {value: float(value) if is_number(value) else float(index) for index, value in enumerate(values)}
    return Axis(column="place", label=name_of(setting) or "context"), places


def is_geometric(values: Sequence[float]) -> bool:
    """Whether numbers belong on a logarithmic axis: they are positive, and span more than a factor of five."""
    return min(values) > 0 and max(values) / min(values) > 5


def mark_settings(axes: Axes, places: Mapping[Any, float], turned: bool) -> None:
    """Put a mark at each value of a setting, and as many names as have room."""
    at = list(places.values())
    is_log = all(map(is_number, places)) and is_geometric(at)
    if is_log:
        axes.set_xscale("log")
        axes.xaxis.set_minor_locator(NullLocator())
    room = axes.get_position().width * axes.figure.get_figwidth()  # type: ignore[union-attr]
    letters = sum(len(text_of(value)) + 2 for value in places)
    every = 1 if turned else max(1, -int(-letters * LETTER_INCHES // room))
    names = [text_of(value) if index % every == 0 else "" for index, value in enumerate(places)]
    axes.set_xticks(at, names)
    if turned:
        for text in axes.get_xticklabels():
            text.set(rotation=30, ha="right", rotation_mode="anchor")
    low, high = (np.log(min(at)), np.log(max(at))) if is_log else (min(at), max(at))
    pad = 0.08 * max(high - low, 1e-9)
    axes.set_xlim(*(np.exp((low - pad, high + pad)) if is_log else (low - pad, high + pad)))

"""Draws the accuracy that theory predicts beside the measured one, against the number of tasks stored."""

from dataclasses import replace
from typing import Final

import pandas as pd
from matplotlib.figure import Figure
from matplotlib.ticker import NullLocator, StrMethodFormatter

from analysis.captions import caption
from analysis.figures.base import (
    Axis,
    Curves,
    OtherStudyError,
    UnsupportedError,
    alike,
    draw_curve,
    draw_points,
    mark_level,
    name_axes,
    settings_axis,
)
from analysis.figures.layout import Texts, sheet
from analysis.figures.styles import current, styled
from analysis.measured import Measured
from analysis.predictions import MEASURED, beside_measured, crossings, ratios
from analysis.roles import Roles, said, values_of
from analysis.tables import over_seeds

SHARE: Final = 0.9
MOST_MARKS: Final = 7


@styled
def draw(measured: Measured) -> Figure:
    """Mean accuracy over the tasks stored.

    Raises:
        OtherStudyError: no trial predicts.
        UnsupportedError: dashes show a setting.
    """
    frame = beside_measured(measured)
    return _draw(measured, frame, "mean accuracy over them", "Capacity as Proposition 2 predicts it from one task")


@styled
def draw_first_task(measured: Measured) -> Figure:
    """Accuracy of task 0, of which more is known: with noise of the size that the weights have moved since.

    Raises:
        OtherStudyError, UnsupportedError: as `draw`.
    """
    frame = beside_measured(measured, of_first_task=True)
    return _draw(measured, frame, "accuracy on task 0", "What other tasks cost the first one, as predicted from it")


def _draw(measured: Measured, frame: pd.DataFrame, what: str, title: str) -> Figure:
    """A row of panels for each curve that is predicted, and a line in each for what is measured and each theory."""
    roles = _with_sources(measured.roles, frame)
    frame = measured.beside(frame)
    predicted = frame.loc[frame["source"] != MEASURED, roles.hue].unique()
    frame = frame[frame[roles.hue].isin(predicted)]
    shown = Curves(frame, replace(roles, hue="source", dashes=None))
    rows = [
        (value, Curves(some, shown.roles))
        for value in values_of(frame, roles.hue)
        if not (some := frame[alike(frame[roles.hue], value)]).empty
    ]
    titles = [f"{said(roles.hue, value)}, {name}".strip(", ") for value, some in rows for name, _ in some.panels]
    text = caption(measured, frame, f"Until K = {int(frame['tasks_seen'].max())} where predicted.", x="tasks_seen")
    texts = Texts(title=measured.titled(title), caption=text, keys=shown.keys())
    figure, grid = sheet(titles, texts, columns=min(len(shown.panels), current().most_columns))
    x = Axis(column="tasks_seen", label="number of tasks stored")
    marks = [2**power for power in range(int(frame["tasks_seen"].max()).bit_length())]
    for axes, (_, some) in zip(grid, (panel for _, row in rows for panel in row.panels), strict=True):
        for place, (look, curve) in enumerate(shown.of(some)):
            draw_curve(axes, over_seeds(curve, [x.column], "accuracy"), x.column, look, place)
        axes.set(xscale="log", ylim=(0, 1))
    name_axes(grid, x, Axis(column="accuracy", label=what))
    for axes in grid:
        axes.xaxis.set_minor_locator(NullLocator())
        axes.set_xticks(marks[:: -(-len(marks) // MOST_MARKS)])
        axes.xaxis.set_major_formatter(StrMethodFormatter("{x:g}"))
        mark_level(axes, measured.chance, "chance")
    return figure


@styled
def draw_capacity(measured: Measured) -> Figure:
    """By how much each theory is wrong: predicted over measured number of tasks at 90% of one task's accuracy.

    Raises:
        OtherStudyError, UnsupportedError: as `draw`; or no curve of a prediction falls so far beside a measured one.
    """
    frame = beside_measured(measured)
    roles = _with_sources(measured.roles, frame)
    if "width" not in roles.settings:
        raise UnsupportedError("runs over width, which figures show by nothing")
    known = ratios(crossings(frame, SHARE))
    if known.empty:
        raise UnsupportedError(f"needs mean accuracy below {SHARE:.0%} of one task's, measured and predicted")
    x, places = settings_axis(sorted(known["width"].unique().tolist()), "width")
    measured = replace(measured, roles=measured.roles.against("width"))
    shown = Curves(measured.beside(known).assign(place=known["width"].map(places)), roles.against("width"))
    note = "1: as measured; below: the theory expects fewer tasks to fit."
    texts = Texts(
        title=measured.titled(f"Where theory and measurement part: K at {SHARE:.0%} of one task's accuracy"),
        caption=caption(measured, shown.frame, note, x="width", shown_as="bars"),
        keys=shown.keys(),
    )
    panels = shown.panels
    figure, grid = sheet([name for name, _ in panels], texts)
    for axes, (_, rows) in zip(grid, panels, strict=True):
        for place, (look, some) in enumerate(shown.of(rows)):
            draw_points(axes, over_seeds(some, [x.column], "ratio"), x.column, look, place)
        axes.set(xscale="log", yscale="log")
        axes.xaxis.set_minor_locator(NullLocator())
        axes.set_xticks(list(places.values()), list(map(str, places)))
        axes.axhline(1, color="0.35", linestyle=":", linewidth=0.8, zorder=1)
    name_axes(grid, x, Axis(column="ratio", label="predicted over measured"))
    return figure


def _with_sources(roles: Roles, frame: pd.DataFrame) -> Roles:
    """The roles with dashes for what is measured and for each theory."""
    if set(frame["source"]) <= {MEASURED}:
        raise OtherStudyError("needs trials that predict (kind: prediction)")
    if roles.dashes is not None:
        raise UnsupportedError(f"needs dashes for its theories, which show {roles.dashes} here")
    return replace(roles, dashes="source")

"""A chart of the report: its rows, its words, and its specification."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from analysis.report.shown import Shown, look_of
from analysis.report.vega import Palette, Spec

Table = tuple[list[str], list[list[str]]]
"""Heads and rows."""


@dataclass(frozen=True, kw_only=True)
class Chart:
    """What the page needs to draw one chart.

    Attributes:
        name: in addresses and scripts.
        title: a heading.
        note: what is drawn, in sentences.
        alt: what a reader who does not see the chart should know.
        spec: Vega-Lite, for one panel.
        columns: of `rows`, after the trial's number in the page.
        rows: a list for each point.
        law: as `rows`, of fitted lines; drawn whatever seeds are chosen.
        law_columns: of `law`.
        free_of: facets by which rows are not chosen.
        choices: what the column `x` can be, by column: its name; else empty.
        numbers: heads and rows of the table beside the chart.
        has_panels: whether there is a panel for each value of the panels' setting.
        series: by trial's number, those that have a mean and a line in common; None for the store's usual ones.
    """

    name: str
    title: str
    note: str
    alt: str
    spec: Spec
    columns: Sequence[str]
    rows: list[list[Any]]
    law: list[list[Any]] = field(default_factory=list)
    law_columns: Sequence[str] = ()
    free_of: Sequence[str] = ()
    choices: Mapping[str, str] = field(default_factory=dict)
    numbers: Table = field(default_factory=lambda: ([], []))
    has_panels: bool = True
    series: Sequence[int] | None = None


def palette(shown: Shown) -> Palette:
    """The looks of curves as Vega has them."""
    looks = {value: look_of(look) for value, look in shown.looks.items()}
    tips = {
        facet.role if facet.role in ("hue", "style", "panel") else facet.setting: facet.name for facet in shown.facets
    }
    tips |= {"lr": "learning rate", "seed": "seed"}
    dashes = {value: [2 * length for length in dash] or [1, 0] for value, dash in shown.dashes.items()}
    return Palette(
        hues=list(looks),
        dashes=dashes or {value: look["dash"] for value, look in looks.items()},
        dashed="style" if dashes else "hue",
        shapes=[look["shape"] for look in looks.values()],
        tips=tips,
    )


def short(value: float) -> float | int | None:
    """A number of five digits, as short as it is."""
    if value is None or value != value or np.isinf(value):
        return None
    number = float(f"{value:.5g}")
    return int(number) if number.is_integer() else number

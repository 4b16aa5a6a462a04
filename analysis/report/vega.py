"""Charts as Vega-Lite specifications, without their data: the page's script gives each view the rows that are chosen.

Each row has the columns of its chart, and of its trial `t` (its number in the page), `hue`, `style`, `panel` and
`series`. Means and their 95% intervals are Vega's, over the rows of one `series` that are chosen.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from scipy.special import stdtrit

Spec = dict[str, Any]

MOST_SEEDS: Final = 60
T_975: Final = [0.0, 0.0, *(round(float(stdtrit(size - 1, 0.975)), 4) for size in range(2, MOST_SEEDS + 1))]
"""Student's factor of a mean over so many seeds."""
INK, FAINT, GRID, PAPER = ("var(--ink)", "var(--faint)", "var(--line)", "var(--paper)")
TOLD: Final = {".0%": ".1%", "~s": ".4~s", "~r": ".4~r"}
"""Formats of axes, as points have them: more exact."""
SERIES: Final[Spec] = {"field": "series"}
ABOVE: Final[Spec] = {"orient": "top", "gradientLength": 160, "type": "gradient"}
CONFIG: Final[Spec] = {
    "background": None,
    "font": "var(--sans)",
    "view": {"stroke": None},
    "axis": {
        "labelColor": FAINT,
        "titleColor": INK,
        "domainColor": GRID,
        "tickColor": GRID,
        "gridColor": GRID,
        "labelFontSize": 11,
        "titleFontSize": 12,
        "titleFontWeight": 500,
        "titlePadding": 8,
        "labelOverlap": "greedy",
        "labelFlush": True,
    },
    "axisX": {"grid": False},
    "legend": {"labelColor": INK, "titleColor": INK, "labelFontSize": 11, "titleFontSize": 11, "titleFontWeight": 500},
    "text": {"fill": FAINT, "fontSize": 11},
}
"""Colours are the page's own (CSS), so a view follows light, dark and print without being drawn again."""


@dataclass(frozen=True, kw_only=True)
class Axis:
    """A column, its name, and how it is drawn.

    Attributes:
        column: of the rows.
        title: with the unit.
        format: of numbers, as d3 has it.
        scale: linear, log, or names (one place for each).
        domain: the ends; None for those of the data.
        values: where there are marks; None for the usual places.
    """

    column: str
    title: str
    format: str = ""
    scale: str = "linear"
    domain: Sequence[float] | None = None
    values: Sequence[float] | None = None

    def encoding(self, column: str | None = None, **more: object) -> Spec:
        """The axis as Vega-Lite has it."""
        scale: Spec = {"type": "log"} if self.scale == "log" else {}
        if self.domain is not None:
            scale |= {"domain": list(self.domain)}
        elif self.scale != "names":
            scale |= {"nice": False} | ({"zero": False} if self.scale == "linear" else {"padding": 12})
        axis: Spec = {"title": self.title, **({"format": self.format} if self.format else {})}
        if self.values is not None:
            axis |= {"values": list(self.values)}
        elif self.scale != "names":
            axis |= {"tickCount": 5}
        kind = "nominal" if self.scale == "names" else "quantitative"
        sort: Spec = {"sort": None} if self.scale == "names" else {}
        return {"field": column or self.column, "type": kind, "scale": scale, "axis": axis, **sort, **more}


@dataclass(frozen=True, kw_only=True)
class Palette:
    """How curves are told apart.

    Attributes:
        hues: values that have colours, in the order of the page's variables `--hue-0`, `--hue-1`, ...
        dashes: by value, of what has dashes.
        dashed: the column that has dashes: `hue` or `style`.
        shapes: the marker of each of `hues`.
        tips: title by column, of what a point says of its trial.
    """

    hues: Sequence[str]
    dashes: Mapping[str, Sequence[float]]
    dashed: str
    shapes: Sequence[str]
    tips: Mapping[str, str] = field(default_factory=dict)

    @property
    def colour(self) -> Spec:
        """Colours by `hue`."""
        range_ = [f"var(--hue-{place})" for place in range(len(self.hues))]
        return {
            "field": "hue",
            "type": "nominal",
            "scale": {"domain": list(self.hues), "range": range_},
            "legend": None,
        }

    @property
    def dash(self) -> Spec:
        """Dashes."""
        scale = {"domain": list(self.dashes), "range": [list(dash) for dash in self.dashes.values()]}
        return {"field": self.dashed, "type": "nominal", "scale": scale, "legend": None}

    @property
    def shape(self) -> Spec:
        """Markers by `hue`."""
        return {
            "field": "hue",
            "type": "nominal",
            "scale": {"domain": list(self.hues), "range": list(self.shapes)},
            "legend": None,
        }

    def tooltip(self, *axes: Axis) -> list[Spec]:
        """What a point says."""
        texts = [{"field": name, "type": "nominal", "title": title} for name, title in self.tips.items()]
        numbers = [
            {"field": axis.column, "title": axis.title}
            | (
                {"type": "nominal"}
                if axis.scale == "names"
                else {"type": "quantitative", "format": TOLD.get(axis.format, axis.format) or ",~r"}
            )
            for axis in axes
        ]
        return [*texts, *numbers, {"field": "id", "type": "nominal", "title": "trial"}]


def lit(bright: float, dim: float) -> Spec:
    """An opacity that is low for curves other than the one whose key the reader points at."""
    return {"condition": {"test": "hot === '' || datum.hue === hot", "value": bright}, "value": dim}


def near() -> list[Spec]:
    """A selection of the point that is nearest."""
    return [
        {
            "name": "near",
            "select": {
                "type": "point",
                "on": "pointerover",
                "clear": "pointerout",
                "nearest": True,
                "fields": ["t", "nth"],
            },
        }
    ]


def sheet(layers: Sequence[Spec], *, height: int = 270) -> Spec:
    """A panel of these layers, as wide as its place in the page."""
    return {
        "$schema": "https://vega.github.io/schema/vega-lite/v6.json",
        "data": {"name": "rows"},
        "width": "container",
        "height": height,
        "autosize": {"type": "fit", "contains": "padding"},
        "params": [{"name": "hot", "value": ""}],
        "layer": list(layers),
        "config": CONFIG,
    }

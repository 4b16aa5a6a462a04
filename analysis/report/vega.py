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


def near(name: str = "near") -> list[Spec]:
    """A selection of the point that is nearest."""
    return [
        {
            "name": name,
            "select": {
                "type": "point",
                "on": "pointerover",
                "clear": "pointerout",
                "nearest": True,
                "fields": ["t", "nth"],
            },
        }
    ]


def sheet(layers: Sequence[Spec], *, height: int = 270, transform: Sequence[Spec] = ()) -> Spec:
    """A panel of these layers, as wide as its place in the page."""
    return {
        "$schema": "https://vega.github.io/schema/vega-lite/v6.json",
        "data": {"name": "rows"},
        "width": "container",
        "height": height,
        "autosize": {"type": "fit", "contains": "padding"},
        "params": [{"name": "hot", "value": ""}],
        "transform": list(transform),
        "layer": list(layers),
        "config": CONFIG,
    }


def means(x: Axis, y: Axis) -> list[Spec]:
    """Transforms: the mean over seeds and its 95% interval at each x, as `mean`, `low`, `high`, `size`."""
    factor = f"datum.size < 2 ? 0 : {T_975}[min(datum.size, {MOST_SEEDS})]"
    y_of = [("mean", "mean"), ("stdev", "spread"), ("count", "size")]
    return [
        {
            "aggregate": [{"op": op, "field": y.column, "as": name} for op, name in y_of],
            "groupby": [x.column, "series", "hue", "style"],
        },
        {"calculate": f"({factor}) * (datum.spread || 0) / sqrt(datum.size)", "as": "half"},
        {"calculate": "datum.mean - datum.half", "as": "low"},
        {"calculate": "datum.mean + datum.half", "as": "high"},
    ]


def curves(
    x: Axis, y: Axis, palette: Palette, levels: Mapping[str, float] | None = None, bounds: Sequence[float] = ()
) -> Spec:
    """A line through means, a band of their intervals, and a point for each trial.

    Args:
        x: the horizontal axis.
        y: the vertical axis.
        palette: how curves are told apart.
        levels: heights of dotted lines, by name.
        bounds: places of thin upright lines.
    """
    common = {"x": x.encoding(), "color": palette.colour}
    clip: Spec = {"clip": True} if y.domain is not None else {}
    band: Spec = {
        "mark": {"type": "area", **clip},
        "transform": means(x, y),
        "encoding": {
            **common, "y": y.encoding("low"), "y2": {"field": "high"}, "detail": SERIES, "opacity": lit(0.16, 0.03),
        },
    }  # fmt: skip
    line: Spec = {
        "mark": {"type": "line", "strokeWidth": 2, "strokeJoin": "round", **clip},
        "transform": means(x, y),
        "encoding": {
            **common,
            "y": y.encoding("mean"),
            "strokeDash": palette.dash,
            "detail": SERIES,
            "opacity": lit(1, 0.12),
        },
    }
    return sheet([*uprights(bounds, x), *rules(levels or {}, y), band, line, points(x, y, palette)])


def points(x: Axis, y: Axis, palette: Palette) -> Spec:
    """A point for each trial, of those rows that have one (`p`); the nearest says what it is."""
    return {
        "mark": {"type": "point", "filled": True, "cursor": "pointer", "strokeWidth": 1.5},
        "transform": [{"filter": "datum.p"}],
        "params": near(),
        "encoding": {
            "x": x.encoding(),
            "y": y.encoding(),
            "color": palette.colour,
            "shape": palette.shape,
            "size": {"condition": {"param": "near", "empty": False, "value": 130}, "value": 26},
            "opacity": {
                "condition": [
                    {"param": "near", "empty": False, "value": 1},
                    {"test": "hot !== '' && datum.hue !== hot", "value": 0.06},
                ],
                "value": 0.55,
            },
            "tooltip": palette.tooltip(x, y),
        },
    }


def rules(levels: Mapping[str, float], y: Axis) -> list[Spec]:
    """A dotted line at each level, with its name."""
    top = y.domain[1] if y.domain else 1.0
    values = [{"level": level, "name": name, "under": level > 0.93 * top} for name, level in levels.items()]
    if not values:
        return []
    at = y.encoding("level")
    return [
        {
            "data": {"values": values},
            "mark": {"type": "rule", "strokeDash": [2, 3], "color": FAINT},
            "encoding": {"y": at},
        },
        {
            "data": {"values": values},
            "mark": {
                "type": "text",
                "align": "right",
                "color": FAINT,
                "baseline": {"expr": "datum.under ? 'top' : 'bottom'"},
                "dy": {"expr": "datum.under ? 4 : -3"},
            },
            "encoding": {"y": at, "x": {"value": "width"}, "text": {"field": "name"}},
        },
    ]


def uprights(places: Sequence[float], x: Axis) -> list[Spec]:
    """A thin upright line at each place."""
    if not len(places):
        return []
    values = [{"at": float(place)} for place in places]
    return [{"data": {"values": values}, "mark": {"type": "rule", "color": GRID}, "encoding": {"x": x.encoding("at")}}]


def laws(x: Axis, y: Axis, palette: Palette) -> Spec:
    """Fitted lines with bands (data `law`), and a point for each trial, open where it is a lower bound (`open`)."""
    common = {"x": x.encoding("width"), "color": palette.colour}
    dots = points(x, y, palette)
    del dots["encoding"]["color"]
    dots["encoding"] |= {
        "stroke": palette.colour,
        "fill": {"condition": {"test": "datum.open", "value": PAPER}, **palette.colour},
        "opacity": lit(0.9, 0.08),
        "size": {"condition": {"param": "near", "empty": False, "value": 150}, "value": 45},
    }
    return sheet(
        [
            {
                "data": {"name": "law"}, "mark": {"type": "area", "clip": True},
                "encoding": {
                    **common, "y": y.encoding("low"), "y2": {"field": "high"}, "detail": SERIES,
                    "opacity": lit(0.15, 0.03),
                },
            },
            {
                "data": {"name": "law"}, "mark": {"type": "line", "strokeWidth": 2, "clip": True},
                "encoding": {
                    **common, "y": y.encoding("value"), "strokeDash": palette.dash, "detail": SERIES,
                    "opacity": lit(1, 0.12),
                },
            },
            dots,
        ],
        height=320,
    )  # fmt: skip


def front(x: Axis, y: Axis, palette: Palette) -> Spec:
    """A point for each trial, and in grey a line through the means that no other beats for less."""
    best: Spec = {
        "mark": {"type": "line", "interpolate": "step-after", "strokeWidth": 4, "color": GRID, "strokeCap": "round"},
        "transform": [
            {
                "aggregate": [{"op": "mean", "field": axis.column, "as": axis.column} for axis in (x, y)],
                "groupby": ["series"],
            },
            {
                "window": [{"op": "max", "field": y.column, "as": "most"}],
                "sort": [{"field": x.column}, {"field": y.column, "order": "descending"}],
            },
            {"filter": f"datum.{y.column} >= datum.most"},
        ],
        "encoding": {"x": x.encoding(), "y": y.encoding()},
    }
    dots = points(x, y, palette)
    dots["encoding"]["size"]["value"] = 60
    return sheet([best, dots], height=320)


def crosstalk(x: Axis, y: Axis, tip: Sequence[Spec]) -> Spec:
    """A row for each context: points coloured by the number of models, an upright mark where theory says."""
    colour: Spec = {
        "field": "num_models", "type": "ordinal", "title": "models stored together, K",
        "scale": {"scheme": "viridis", "reverse": True}, "legend": {"orient": "top", "columns": 8},
    }  # fmt: skip
    dots: Spec = {
        "mark": {"type": "point", "filled": True, "size": 55, "cursor": "pointer"},
        "params": near(),
        "encoding": {
            "x": x.encoding(), "y": y.encoding(), "color": colour, "tooltip": list(tip), "opacity": lit(0.85, 0.1),
        },
    }  # fmt: skip
    mark: Spec = {
        "mark": {"type": "tick", "thickness": 2, "color": INK},
        "transform": [{"filter": "isValid(datum.predicted)"}],
        "encoding": {"x": x.encoding("predicted", aggregate="mean"), "y": y.encoding()},
    }
    made = sheet([dots, mark])
    return made | {"height": {"step": 20}, "autosize": {"type": "fit-x", "contains": "padding"}}


def heat() -> Spec:
    """R of one trial, rows of tasks trained."""
    x = Axis(column="task", title="task asked, j", scale="names")
    y = Axis(column="seen", title="tasks trained", scale="names")
    colour: Spec = {
        "field": "accuracy", "type": "quantitative", "title": "accuracy",
        "scale": {"scheme": "viridis", "domain": [0, 1]}, "legend": ABOVE | {"format": ".0%"},
    }  # fmt: skip
    cell: Spec = {
        "mark": "rect",
        "encoding": {
            "x": x.encoding(sort="ascending"), "y": y.encoding(sort="ascending"), "color": colour,
            "tooltip": [
                {"field": "task", "title": "task asked"}, {"field": "seen", "title": "tasks trained"},
                {"field": "accuracy", "title": "accuracy", "format": ".1%"},
            ],
        },
    }  # fmt: skip
    for axis in ("x", "y"):
        cell["encoding"][axis] |= {"type": "ordinal"}
        cell["encoding"][axis]["axis"] |= {"labelAngle": 0, "grid": False, "ticks": False, "domain": False}
    return sheet([cell], height=330)


def through() -> Spec:
    """Accuracy of each task of one trial through time."""
    x = Axis(column="seen", title="tasks trained", format="d")
    y = Axis(column="accuracy", title="accuracy of each task", format=".0%", domain=(0, 1))
    colour: Spec = {
        "field": "task", "type": "quantitative", "title": "task",
        "scale": {"scheme": {"name": "viridis", "extent": [0.2, 0.8]}}, "legend": ABOVE | {"format": "d"},
    }  # fmt: skip
    tip = [
        {"field": "task", "title": "task"},
        {"field": "seen", "title": "tasks trained"},
        {"field": "accuracy", "title": "accuracy", "format": ".1%"},
    ]
    line: Spec = {
        "mark": {"type": "line", "strokeWidth": 1.2, "opacity": 0.8},
        "encoding": {"x": x.encoding(), "y": y.encoding(), "color": colour, "detail": {"field": "task"}},
    }
    dot: Spec = {
        "mark": {"type": "point", "filled": True, "size": 14},
        "encoding": {"x": x.encoding(), "y": y.encoding(), "color": colour, "tooltip": tip},
    }
    return sheet([line, dot], height=330)

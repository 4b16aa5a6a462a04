"""The specifications of the report's charts: curves, points, laws, fronts, crosstalk and matrices."""

from collections.abc import Mapping, Sequence

from analysis.report.vega import (
    ABOVE,
    FAINT,
    GRID,
    INK,
    MOST_SEEDS,
    PAPER,
    SERIES,
    T_975,
    Axis,
    Palette,
    Spec,
    lit,
    near,
    sheet,
)


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
    if not levels:
        return []
    top = 0.93 * (y.domain[1] if y.domain else 1.0)
    at = y.encoding("level")
    values = [{"level": level, "name": name} for name, level in levels.items()]
    layers: list[Spec] = [
        {
            "data": {"values": values},
            "mark": {"type": "rule", "strokeDash": [2, 3], "color": FAINT},
            "encoding": {"y": at},
        }
    ]
    for some, place in (
        ([each for each in values if levels[str(each["name"])] <= top], at),
        ([each for each in values if levels[str(each["name"])] > top], {"value": -1}),  # above the panel
    ):
        if some:
            mark = {"type": "text", "align": "right", "baseline": "bottom", "dy": -3, "color": FAINT}
            encoding = {"y": place, "x": {"value": "width"}, "text": {"field": "name"}}
            layers.append({"data": {"values": some}, "mark": mark, "encoding": encoding})
    return layers


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


def crosstalk(x: Axis, y: Axis, names: Sequence[str], tip: Sequence[Spec]) -> Spec:
    """A row for each context: points coloured by the number of models, an upright mark where theory says."""
    colour: Spec = {
        "field": "num_models", "type": "ordinal", "title": "models stored together, K",
        "scale": {"scheme": "viridis", "reverse": True}, "legend": {"orient": "top", "columns": 8},
    }  # fmt: skip
    rows = y.encoding(sort=list(names))
    rows["axis"] |= {"labelOverlap": False, "labelFlush": False, "labelLimit": 220}
    dots: Spec = {
        "mark": {"type": "point", "filled": True, "size": 55, "cursor": "pointer"},
        "params": near(),
        "encoding": {
            "x": x.encoding(), "y": rows, "color": colour, "tooltip": list(tip), "opacity": lit(0.85, 0.1),
        },
    }  # fmt: skip
    mark: Spec = {
        "mark": {"type": "tick", "thickness": 2, "color": INK},
        "transform": [{"filter": "isValid(datum.predicted)"}],
        "encoding": {"x": x.encoding("predicted", aggregate="mean"), "y": rows},
    }
    return sheet([dots, mark], height=60 + 20 * len(names))


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
    plain = {"labelAngle": 0, "labelFlush": False, "grid": False, "ticks": False, "domain": False}
    for axis in ("x", "y"):
        cell["encoding"][axis] |= {"type": "ordinal"}
        cell["encoding"][axis]["axis"] |= plain
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

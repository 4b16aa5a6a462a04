"""Draws the law of capacity: how many tasks stay at 90% of a single task's accuracy, against width, on two log axes."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, Final

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import NullLocator

from analysis.captions import caption
from analysis.figures.base import Axis, Curves, OtherStudyError, UnsupportedError, name_axes
from analysis.figures.layout import Key, Texts, sheet
from analysis.figures.looks import GREY, Look
from analysis.figures.styles import styled
from analysis.law import Law, laws
from analysis.law_text import fit_text, in_brackets
from analysis.measured import Measured
from analysis.predictions import MEASURED, NAMES, beside_measured, crossings
from analysis.roles import is_number, text_of
from analysis.tables import THRESHOLD, capacity_bounds

BY_HEART: Final = (
    "Dotted: tasks whose training labels, were they random, a curve's most shared parameters hold at 3.6 bits each "
    "(Morris et al. 2025, arXiv 2505.24832): above, tasks cannot be known by heart."
)
PREDICTED: Final = (
    "Thin: the capacity that a theory predicts from the network of task 0 alone (docs/theory.md), of the median seed; "
    "between numbers of tasks that it was asked about, on a straight line over log K."
)
THEORIES: Final = {
    name: Look(colour=GREY, marker="", dashes=dashes, label=name)
    for name, dashes in zip(NAMES.values(), [(1, 1.5), (4, 2), (8, 2), (8, 2, 1, 2)], strict=True)
}
SHIFT: Final = 0.014  # the distance between curves that else would overlap, as a share of the axis
EDGE: Final = 1.15  # from the narrowest and the widest to the panel's edges, as a factor
ARROW: Final = 1.25  # how far an arrow of a censored point reaches, as a factor
TICKS: Final = (1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000)


@styled
def draw(measured: Measured) -> Figure:
    """Each curve's capacities and its fitted power of width (`analysis.law`), a panel for each value of a setting.

    Raises:
        OtherStudyError: no two widths, or a stream with cycles, whose number of tasks does not grow.
        UnsupportedError: no curve has a capacity at two widths.
    """
    if measured.evals["num_cycles"].max() > 1 or "width" not in measured.roles.x:
        raise OtherStudyError("needs several widths, and a stream without cycles")
    measured = measured.against("width")
    found = laws(measured, THRESHOLD)
    if not any(len(law.widths) > 1 for law in found):
        raise UnsupportedError("needs a curve of two widths with all tasks measured after task 0 and others")
    frame = measured.beside(capacity_bounds(measured.best_lr, THRESHOLD))
    shown = Curves(frame[frame["width"].map(is_number)], measured.roles)
    predicted = crossings(beside_measured(measured), THRESHOLD)
    predicted = predicted[predicted["source"] != MEASURED]
    is_solid = not predicted.empty and not shown.dashes  # dashes show theories then
    keys = [*_keys(shown, found, is_solid=is_solid), *_key_of_theories(predicted)]
    panels = shown.panels
    texts = Texts(
        title=measured.titled(f"Capacity by width: tasks that keep {THRESHOLD:.0%} of a single task's accuracy"),
        caption=caption(
            measured,
            shown.frame,
            _note(found, measured.with_bounds, not predicted.empty),
            x="width",
            shown_as=None,
            of_means=False,
        ),
        keys=keys,
    )
    figure, grid = sheet([name for name, _ in panels], texts, height=2.3)
    widths = sorted(shown.frame["width"].unique())
    for axes, (_, rows) in zip(grid, panels, strict=True):
        every = list(shown.of(rows))
        for place, (look, some) in enumerate(every):
            shift = (widths[-1] / widths[0]) ** (SHIFT * (place - (len(every) - 1) / 2))
            draw_points(axes, some, look, shift)
            for law in _of(found, some, measured):
                draw_law(axes, law, replace(look, dashes=()) if is_solid else look)
            draw_theories(axes, predicted[predicted["trial_id"].isin(some["trial_id"])], look)
        if measured.with_bounds:
            draw_by_heart(axes, found)
        _scale(axes, widths, np.nanmax([shown.frame["num_tasks"].max(), *predicted["capacity"]]))
    name_axes(grid, Axis(column="width", label="width"), Axis(column="capacity", label="capacity (tasks)"))
    return figure


def draw_points(axes: Axes, some: pd.DataFrame, look: Look, shift: float) -> None:
    """Each width's median seed, its seeds' bounds as a bar, and an arrow where some seed is censored.

    Args:
        axes: the panel.
        some: the trials of one curve: width, at_least, below, num_tasks.
        look: the curve's look.
        shift: a factor of the widths, so that curves do not hide one another.
    """
    colour = look.colour
    for width, rows in some.groupby("width"):
        x, most = float(str(width)) * shift, rows["num_tasks"].max()
        middle = rows["at_least"].quantile(0.5, interpolation="lower")
        is_open = bool(np.isinf(rows["below"].where(rows["at_least"] <= middle)).any())
        finite = rows["below"].where(np.isfinite(rows["below"]), most)
        axes.plot([x, x], [rows["at_least"].min(), finite.max()], color=colour, linewidth=0.8)
        point: dict[str, Any] = {"marker": look.marker, "color": colour, "linestyle": "none", "zorder": 3}
        axes.plot([x], [middle], **point, markerfacecolor="white" if is_open else colour)
        for is_censored, end, start in (
            (np.isinf(rows["below"]).any(), most * ARROW, most),
            ((rows["at_least"] <= 1).any(), 1 / ARROW, 1),
        ):
            if is_censored:
                arrow: dict[str, Any] = {"arrowstyle": "-|>", "color": colour, "linewidth": 0.8, "mutation_scale": 5}
                axes.annotate("", (x, end), (x, start), arrowprops={**arrow, "shrinkA": 0, "shrinkB": 0})


def draw_law(axes: Axes, law: Law, look: Look) -> None:
    """The fitted line between the widths measured, and its 95% band."""
    widths = np.geomspace(law.widths[0], law.widths[-1], 50)
    tasks = [law.tasks(width) for width in widths]
    axes.plot(widths, [one.value for one in tasks], **look.line())
    axes.fill_between(
        widths, [one.low for one in tasks], [one.high for one in tasks], color=look.colour, alpha=0.15, lw=0
    )


def draw_theories(axes: Axes, predicted: pd.DataFrame, look: Look) -> None:
    """Each theory's capacity of the median seed; no line where that keeps all tasks that were predicted.

    Args:
        axes: the panel.
        predicted: of the trials of one curve: columns source, width, capacity.
        look: the curve's look.
    """
    for theory, rows in predicted.fillna({"capacity": np.inf}).groupby("source"):
        median = rows.groupby("width")["capacity"].quantile(0.5, interpolation="lower")
        line = replace(THEORIES[str(theory)], colour=look.colour).line()
        axes.plot(median.index, median.where(np.isfinite(median)), **line, linewidth=0.7)


def _key_of_theories(predicted: pd.DataFrame) -> list[Key]:
    looks = {name: look for name, look in THEORIES.items() if name in predicted["source"].unique()}
    return [Key(title="", looks=looks, markers=False)] if looks else []


def draw_by_heart(axes: Axes, found: Sequence[Law]) -> None:
    """How many tasks' labels as many parameters can hold, of the curve with most parameters; where that is known."""
    every = pd.concat([law.trials for law in found])
    most = every.groupby("width")["by_heart"].max().dropna()
    if len(most) > 1:
        axes.plot(most.index, most, color="0.35", linestyle=(0, (1, 3)), linewidth=1)
        axes.annotate(
            "labels by heart", (most.index[-1], most.iloc[-1]), fontsize=6, color="0.35", ha="right", va="bottom"
        )


def _of(found: Sequence[Law], some: pd.DataFrame, measured: Measured) -> list[Law]:
    """The fitted law of these trials."""
    first = some.iloc[0]
    names = [name for name in measured.settings if name != "width"]
    curve = {name: None if pd.isna(first[name]) else first[name] for name in names}
    return [law for law in found if law.is_fitted and dict(law.curve) == curve]


def _keys(shown: Curves, found: Sequence[Law], *, is_solid: bool) -> list[Key]:
    """The legend; where each colour is one curve, with the curve's exponent."""
    keys = shown.keys()
    if is_solid:
        keys = [
            replace(key, looks={name: replace(look, dashes=()) for name, look in key.looks.items()}) for key in keys
        ]
    if shown.dashes or len(shown.panels) > 1 or shown.roles.hue != "context":
        return keys
    exponents = {law.name: in_brackets(law.exponent, ".2f") for law in found if law.is_fitted}
    if not exponents:
        return keys
    looks = {
        f"{name}: {f'b = {exponents[name]}' if name in exponents else 'no law'}": look
        for name, look in keys[0].looks.items()
    }
    return [replace(keys[0], looks=looks), *keys[1:]]


def _note(found: Sequence[Law], with_bounds: bool, is_predicted: bool) -> str:
    reasons: dict[str, list[str]] = {}
    for law in found:
        if law.reason:
            reasons.setdefault(law.reason, []).append(law.name)
    refused = [f"{law.name} ({fit_text(law)})" for law in found if law.is_refused]
    without = "; ".join(f"{', '.join(names)}: {reason}" for reason, names in reasons.items())
    return " ".join(
        [
            "Lines: K = a width^b, most likely given that K lies between the last number of tasks that kept the share",
            "and the first that did not; bands and brackets: 95% interval, resampling seeds.",
            "Points: the median seed; bars: all seeds' bounds; arrows: censored, as some seed kept all its tasks (open",
            "points: the median seed did) or one task alone.",
            *([f"No power of width, by a test for lack of fit: {', '.join(refused)}."] if refused else []),
            *([PREDICTED] if is_predicted else []),
            *([BY_HEART] if with_bounds and any(law.trials["by_heart"].notna().any() for law in found) else []),
            *([f"No law or no interval: {without}."] if without else []),
        ]
    )


def _scale(axes: Axes, widths: Sequence[float], most: float) -> None:
    """Logarithmic axes: the widths measured, and tasks from one to beyond the most."""
    tasks = [tick for tick in TICKS if tick <= most * ARROW]
    axes.set(xscale="log", yscale="log", xlim=(widths[0] / EDGE, widths[-1] * EDGE), ylim=(0.7, most * ARROW * 1.15))
    for axis, ticks in ((axes.xaxis, widths), (axes.yaxis, tasks)):
        axis.set_minor_locator(NullLocator())
        axis.set_ticks(ticks, list(map(text_of, ticks)))

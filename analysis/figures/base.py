"""What the figures share: how curves are coloured and drawn over seeds. `context` is a curve's label here."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import matplotlib.pyplot as plt
import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, StrMethodFormatter

from analysis.tables import over_seeds, trials_of

CONTEXTS: Final = [
    "none",
    *("binary", "complex", "one-power", "rotation"),  # the paper's
    *("structured-rotation", "rotation-powers", "householder", "permutation", "signed-permutation"),
    *("hadamard", "fourier", "plain-complex", "mask", "structured-rotation-1", "ternary", "gaussian"),
]


VARIANTS: Final = {  # the paper's other curves, dashed
    "none, head per task": (0.1, 0.1, 0.1),
    "complex, local-mix": (0.4, 0.07, 0.3),
    "complex x100": (0.45, 0.35, 0.85),
    "complex x100, local-mix": (0.5, 0.7, 0.1),
}
MOST_POINTS: Final = 100  # of a curve whose line is drawn at full width
MOST_COLUMNS: Final = 4


class UnsupportedError(Exception):
    """The stored trials do not support a figure; the message is the reason."""


def refuse_cycles(evals: pd.DataFrame, reason: str) -> None:
    """Refuse a stream that goes through its tasks more than once.

    Raises:
        UnsupportedError: it does.
    """
    cycles = evals["num_cycles"].max()
    if cycles > 1:
        raise UnsupportedError(f"the stream goes through its tasks {cycles} times, and {reason}")


@dataclass(frozen=True, kw_only=True)
class Axis:
    """A column of a frame and what it is called in the figure."""

    column: str
    label: str


def curves(frame: pd.DataFrame, x: Axis, y: Axis, *, panels: bool = True, marker: str | None = None) -> Figure:
    """Mean over seeds with its 95% interval, a colour for each context, a panel for each width.

    Drawn with matplotlib alone: seaborn's relplot lays each figure out twice, which takes longer than
    everything else together.

    Args:
        frame: one row for each trial and value of x, with its width and context.
        x: what the curves run over.
        y: what they show.
        panels: a panel for each width; False where x is the width.
        marker: of the points, where there are few.
    """
    colours = palette(set(frame["context"]))
    figure, of_width = width_panels(sorted(frame["width"].unique()) if panels else [None], colours)
    for width, axes in of_width.items():
        panel = frame if width is None else frame[frame["width"] == width]
        summary = over_seeds(panel, ["context", x.column], y.column)
        for context, colour in colours.items():
            curve = summary[summary["context"] == context]
            if curve.empty:
                continue
            line: dict[str, Any] = {"color": colour, "label": context, "marker": marker}
            line["linestyle"] = "--" if " " in context else "-"  # a context with something unusual about it
            line["linewidth"] = None if len(curve) <= MOST_POINTS else 0.7
            axes.plot(curve[x.column], curve["mean"], **line)
            axes.fill_between(curve[x.column], curve["low"], curve["high"], color=colour, alpha=0.2, lw=0)
    name_panels(figure, of_width, x, y)
    add_legend(figure, colours)
    return figure


def width_panels(widths: Sequence[int | None], labels: Collection[str]) -> tuple[Figure, dict[int | None, Axes]]:
    """A panel for each width, in rows of four, and at the right a margin for a legend of these labels."""
    columns = min(len(widths), MOST_COLUMNS)
    rows = -(-len(widths) // columns)
    wide = 2.8 if len(widths) > 1 else 4.4
    figure, grid = new_figure(rows, columns, wide, 2.8, right=right_margin(labels))
    for axes in grid.flat[len(widths) :]:
        axes.remove()
    return figure, dict(zip(widths, grid.flat, strict=False))


def count_steps(axes: Axes) -> None:
    """Few enough marks on an axis of optimiser steps that their large numbers have room."""
    axes.xaxis.set_major_locator(MaxNLocator(5, steps=[1, 2, 5, 10]))
    axes.xaxis.set_major_formatter(StrMethodFormatter("{x:,.0f}"))


def name_panels(figure: Figure, of_width: Mapping[int | None, Axes], x: Axis, y: Axis) -> None:
    """Say what the panels and their axes are."""
    for index, (width, axes) in enumerate(of_width.items()):
        axes.set(title="" if width is None else f"width {width}", xlabel=x.label)
        if x.column in ("tasks_seen", "lag"):
            axes.xaxis.set_major_locator(MaxNLocator(integer=True))  # there is no half task
        axes.tick_params(labelbottom=True)  # also above a place in the last row that is empty
        if index % MOST_COLUMNS == 0:
            axes.set_ylabel(y.label)
    sns.despine(figure)


def add_legend(figure: Figure, labels: Collection[str]) -> None:
    """What the panels' artists of these labels are, in this order, at the figure's right."""
    handles = {
        label: artist for axes in figure.axes for artist, label in zip(*axes.get_legend_handles_labels(), strict=True)
    }
    in_order = {label: handles[label] for label in labels if label in handles}
    figure.legend(
        in_order.values(),
        in_order,
        title="context",
        loc="center left",
        bbox_to_anchor=(1 - _legend_inches(labels) / figure.get_figwidth(), 0.5),
        frameon=False,
    )


def right_margin(labels: Collection[str]) -> float:
    """Inches that a legend of these labels takes at the right."""
    return _legend_inches(labels) + 0.05


def _legend_inches(labels: Collection[str]) -> float:
    return max(1.25, 0.5 + 0.068 * max(map(len, labels), default=0))


def new_figure(rows: int, columns: int, wide: float, high: float, right: float) -> tuple[Figure, Any]:
    """A grid of panels that share their axes, with margins in inches.

    Fixed margins draw a figure once; measuring its labels to fit them would draw it twice.
    """
    left, top, bottom = 0.65, 0.8, 0.5
    beside, between = 0.18, 0.75  # panels of a row; rows, which have tick labels, axis label and title between them
    width = left + columns * wide + (columns - 1) * beside + right
    height = top + rows * high + (rows - 1) * between + bottom
    margins = {
        "left": left / width,
        "right": 1 - right / width,
        "top": 1 - top / height,
        "bottom": bottom / height,
        "wspace": beside / wide,
        "hspace": between / high,
    }
    figure, grid = plt.subplots(
        rows, columns, figsize=(width, height), gridspec_kw=margins, sharex=True, sharey=True, squeeze=False
    )
    return figure, grid


def palette(contexts: Collection[str]) -> dict[str, Any]:
    """A colour for each of these labels in the order of a legend, the same in every figure; grey for none."""
    of_contexts = {name: _colour(index) for index, name in enumerate(CONTEXTS[1:])}
    known = {"none": (0.45, 0.45, 0.45), **of_contexts, **VARIANTS}
    others = sorted(set(contexts) - set(known))
    every = known | {name: _colour(index) for index, name in enumerate(others, len(of_contexts))}
    return {context: colour for context, colour in every.items() if context in contexts}


def _colour(index: int) -> tuple[float, ...]:
    """The colour-blind palette's nine hues without its grey, then the same darker, lighter, and darker again."""
    hues = sns.color_palette("colorblind")
    del hues[7]
    round_ = index // len(hues)
    if round_ == 2:
        return tuple(0.45 * part + 0.55 for part in hues[index % len(hues)])
    shade = 0.55 ** (round_ if round_ < 2 else round_ - 1)
    return tuple(shade * part for part in hues[index % len(hues)])


def finish(figure: Figure, title: str, frame: pd.DataFrame, evals: pd.DataFrame, *, shown_as: str = "bands") -> Figure:
    """Title, and a line that says what the bands are."""
    bands = f"; {shown_as}: 95% interval of the mean" if frame["seed"].nunique() > 1 else f", so no {shown_as}"
    figure.suptitle(f"{title}\n{seeds_and_lr(frame, evals)}{bands}", fontsize=10)
    return figure


def seeds_and_lr(frame: pd.DataFrame, evals: pd.DataFrame) -> str:
    """How many seeds the curves have, and whether each was drawn at the best of several lr."""
    seeds = frame.groupby(["context", "width", "lr"])["seed"].nunique()
    number = str(seeds.min()) if seeds.min() == seeds.max() else f"{seeds.min()} to {seeds.max()}"
    text = "one seed" if number == "1" else f"mean of {number} seeds"
    tried, drawn = (f.groupby(["context", "width"])["lr"].nunique().max() for f in (trials_of(evals), frame))
    return f"{text}; each curve at its best lr" if tried > drawn else text

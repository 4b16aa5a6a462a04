"""What the figures share: how contexts are coloured and how curves over seeds are drawn."""

from collections.abc import Collection
from dataclasses import dataclass
from typing import Any, Final

import matplotlib.pyplot as plt
import pandas as pd
import seaborn as sns
from matplotlib.figure import Figure

from analysis.tables import over_seeds, trials_of

CONTEXTS: Final = [
    "none",
    *("binary", "complex", "one-power", "rotation"),  # the paper's
    *("structured-rotation", "rotation-powers", "householder", "permutation", "signed-permutation"),
    *("hadamard", "fourier", "plain-complex", "mask", "structured-rotation-1", "ternary", "gaussian"),
]


class UnsupportedError(Exception):
    """The stored trials do not support a figure; the message is the reason."""


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
    widths = sorted(frame["width"].unique()) if panels else [None]
    colours = palette(set(frame["context"]))
    columns = min(len(widths), 4)
    rows = -(-len(widths) // columns)
    wide = 2.8 if len(widths) > 1 else 4.4
    figure, grid = new_figure(rows, columns, wide, 2.8, right=1.3)
    for axes in grid.flat[len(widths) :]:
        axes.remove()
    for axes, width in zip(grid.flat, widths, strict=False):
        panel = frame if width is None else frame[frame["width"] == width]
        summary = over_seeds(panel, ["context", x.column], y.column)
        for context in colours:
            curve = summary[summary["context"] == context]
            if curve.empty:
                continue
            axes.plot(curve[x.column], curve["mean"], color=colours[context], label=context, marker=marker)
            axes.fill_between(curve[x.column], curve["low"], curve["high"], color=colours[context], alpha=0.2, lw=0)
        axes.set(title="" if width is None else f"width {width}", xlabel=x.label)
        axes.tick_params(labelbottom=True)  # also above a place in the last row that is empty
    for axes in grid[:, 0]:
        axes.set_ylabel(y.label)
    sns.despine(figure)
    handles = {
        label: line for axes in figure.axes for line, label in zip(*axes.get_legend_handles_labels(), strict=True)
    }
    in_order = {context: handles[context] for context in colours if context in handles}
    figure.legend(
        in_order.values(),
        in_order,
        title="context",
        loc="center left",
        bbox_to_anchor=(1 - 1.25 / figure.get_figwidth(), 0.5),
        frameon=False,
    )
    return figure


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
    """A colour for each of these contexts in the order of a legend, the same in every figure; grey for none."""
    names = [*CONTEXTS[1:], *sorted(set(contexts) - set(CONTEXTS))]
    colours = {name: _colour(index) for index, name in enumerate(names)}
    every = {"none": (0.45, 0.45, 0.45), **colours}
    return {context: colour for context, colour in every.items() if context in contexts}


def _colour(index: int) -> tuple[float, ...]:
    """The colour-blind palette's nine hues without its grey, then the same darker, and darker again."""
    hues = sns.color_palette("colorblind")
    del hues[7]
    shade = 0.55 ** (index // len(hues))
    return tuple(shade * part for part in hues[index % len(hues)])


def finish(figure: Figure, title: str, frame: pd.DataFrame, evals: pd.DataFrame) -> Figure:
    """Title, and a line that says what the bands are."""
    bands = "; bands: 95% interval of the mean" if frame["seed"].nunique() > 1 else ", so no bands"
    figure.suptitle(f"{title}\n{seeds_and_lr(frame, evals)}{bands}", fontsize=10)
    return figure


def seeds_and_lr(frame: pd.DataFrame, evals: pd.DataFrame) -> str:
    """How many seeds the curves have, and whether each was drawn at the best of several lr."""
    seeds = frame.groupby(["context", "width", "lr"])["seed"].nunique()
    number = str(seeds.min()) if seeds.min() == seeds.max() else f"{seeds.min()} to {seeds.max()}"
    text = "one seed" if number == "1" else f"mean of {number} seeds"
    tried, drawn = (f.groupby(["context", "width"])["lr"].nunique().max() for f in (trials_of(evals), frame))
    return f"{text}; each curve at its best lr" if tried > drawn else text

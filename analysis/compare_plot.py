"""The papers' points over our bands, as figures in a store."""

from collections.abc import Iterator, Mapping
from typing import Any

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from analysis.compare import Comparison
from analysis.figures.base import Axis, count_steps, curves, palette
from analysis.plot import FigureFolder
from analysis.store import StoreError


def draw_comparisons(comparisons: list[Comparison], out: str, format: str = "png") -> Iterator[str]:
    """Draw each comparison that has a curve into OUT/figures; yields a line for each file.

    Where the store cannot be written, the one line says so: its tables are no worse for that.

    Args:
        comparisons: of that store's trials.
        out: a trial store.
        format: png, svg or pdf.
    """
    curved = [comparison for comparison in comparisons if len(comparison.steps) > 1]
    try:
        folder = FigureFolder(out, format) if curved else None
        for comparison in curved:
            assert folder
            yield f"drew {folder.save(draw(comparison), f'compare-{comparison.slug}')}"
    except StoreError as error:
        yield f"no figure: {error}"


def draw(comparison: Comparison) -> Figure:
    """One panel for each width: a curve and band for each of our contexts, a point for each published value."""
    unit = comparison.step_unit
    ours = comparison.ours.assign(step=comparison.ours["step"] / unit)
    x = Axis(column="step", label="number of tasks trained" if unit > 1 else "optimiser steps")
    figure = curves(ours, x, Axis(column="accuracy", label=comparison.quantity))
    for width, axes in zip(sorted(ours["width"].unique()), figure.axes, strict=True):
        _add_points(axes, comparison.paper_at(width), palette(set(ours["context"])), unit)
    figure.axes[0].set_ylim(0, 1)
    if unit == 1:
        count_steps(figure.axes[0])
    ours_are = f"curves: ours, {comparison.seeds}" + ("" if comparison.seeds == "1 seed" else ", 95% interval")
    trained = ", trained contexts" if comparison.learned else ""
    depth = "" if comparison.is_as_deep else f", {comparison.layers}"
    text = f"{comparison.name}: {comparison.quantity}\npoints: the paper's; {ours_are}{trained}{depth}"
    figure.suptitle(text, fontsize=10)
    return figure


def _add_points(axes: Axes, paper: pd.DataFrame, colours: Mapping[str, Any], unit: int) -> None:
    """The published values, with the ends of the paper's band where it has one."""
    for context, points in paper.groupby("context"):
        axes.errorbar(
            points["step"] / unit,
            points["value"],
            [points["value"] - points["low"], points["high"] - points["value"]],
            color=colours[str(context)],
            fmt="o",
            markersize=4.5,
            markeredgecolor="black",
            capsize=3,
            zorder=3,
        )

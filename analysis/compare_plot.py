"""Draws the papers' points over our bands."""

from collections.abc import Iterator, Mapping

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from analysis.compare import Comparison
from analysis.figures.base import Axis, Curves, about_areas, count_steps, draw_curves
from analysis.figures.layout import Texts
from analysis.figures.looks import Look
from analysis.figures.styles import styled
from analysis.folder import FigureFolder
from analysis.roles import Roles
from analysis.store import StoreError


def draw_comparisons(comparisons: list[Comparison], out: str, format: str = "png") -> Iterator[str]:
    """Draw each comparison of several steps into OUT/figures; yields a line for each file.

    Where the store cannot be written, a line says so. That is no error: the tables need no files.

    Args:
        comparisons: from `compare_store`, of this store.
        out: a trial store.
        format: png, svg or pdf.
    """
    curved = [comparison for comparison in comparisons if len(comparison.steps) > 1]
    if not curved:
        return
    try:
        with FigureFolder(out, format, "compare") as folder:
            for comparison in curved:
                yield f"drew {folder.save(draw(comparison), f'compare-{comparison.slug}')}"
        if folder.removed:
            yield f"removed {', '.join(folder.removed)}: drawn before, of another state of the store"
    except StoreError as error:
        yield f"no figure: {error}"


@styled
def draw(comparison: Comparison) -> Figure:
    """One panel for each width: a curve and band for each of our contexts, a point for each published value."""
    unit, settings = comparison.step_unit, comparison.source.settings
    cycle = None
    if settings["num_cycles"] != 1:
        cycle = comparison.source.steps_per_task * int(str(settings["num_tasks"]))
    shown = Curves(comparison.ours.assign(step=comparison.ours["step"] / unit), Roles())
    x = Axis(column="step", label="number of tasks trained" if unit > 1 else "optimiser steps")
    y = Axis(column="accuracy", label=comparison.quantity)
    texts = Texts(
        title=f"{comparison.name}: {comparison.quantity}",
        caption=" ".join(filter(None, [*_caption(comparison), about_areas(shown, x, y, cycle)])),
        keys=shown.keys(),
    )
    figure = draw_curves(shown, x, y, texts, cycle)
    for width, axes in zip(sorted(comparison.ours["width"].unique()), figure.axes, strict=True):
        _add_points(axes, comparison.paper_at(width), shown.hues, unit)
        axes.set_ylim(0, 1)
        if unit == 1:
            count_steps(axes)
    return figure


def _caption(comparison: Comparison) -> Iterator[str]:
    interval = "" if comparison.seeds == "1 seed" else ", 95% interval of the mean"
    yield f"Points with a black edge: the paper's. Curves: ours, {comparison.seeds}{interval}."
    setup = comparison.paper.iloc[0]
    learned = ", contexts trained during their task" if comparison.learned else ""
    depth = "" if np.isnan(setup["depth"]) else f", {comparison.layers}"
    yield f"All: {setup['stream']} {setup['dataset']}, {setup['model']}{depth}{learned}."


def _add_points(axes: Axes, paper: pd.DataFrame, looks: Mapping[str, Look], unit: int) -> None:
    """The published values, with the ends of the paper's band where it has one."""
    for context, points in paper.groupby("context"):
        axes.errorbar(
            points["step"] / unit,
            points["value"],
            [points["value"] - points["low"], points["high"] - points["value"]],
            color=looks[str(context)].colour,
            fmt=looks[str(context)].marker,
            markersize=4,
            markeredgecolor="black",
            markeredgewidth=0.6,
            elinewidth=0.8,
            capsize=1.5,
            zorder=3,
        )

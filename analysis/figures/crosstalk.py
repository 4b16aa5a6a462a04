"""Crosstalk of given models against how many are stored: measured, and as the theory has it."""

from typing import Any

import pandas as pd
from matplotlib.figure import Figure

from analysis.figures.base import Axis, add_legend, name_panels, palette, width_panels


def draw(frame: pd.DataFrame) -> Figure:
    """One panel for each size N: points are measured, lines are Proposition 2's where it has any.

    Args:
        frame: rows of one support and alignment: context, width, num_models, second_moment, predicted,
            seed, support.
    """
    colours = palette(set(frame["context"]))
    figure, of_width = width_panels(sorted(frame["width"].unique()), colours)
    for width, axes in of_width.items():
        panel = frame[frame["width"] == width]
        means = panel.groupby(["context", "num_models"], as_index=False)[["second_moment", "predicted"]].mean()
        for index, (context, colour) in enumerate(colours.items()):
            curve = means[means["context"] == context]
            ring: dict[str, Any] = {
                "markersize": 10 - 8 * index / len(colours),
                "markerfacecolor": "none",
            }  # many fall on one another
            axes.plot(curve["num_models"], curve["second_moment"], "o", color=colour, label=context, **ring)
            axes.plot(curve["num_models"], curve["predicted"], color=colour, linewidth=0.9)
        axes.set_xscale("log", base=2)
        axes.set_yscale("log")
    x = Axis(column="num_models", label="models stored together, K")
    name_panels(figure, of_width, x, Axis(column="second_moment", label="E |crosstalk|² over |w|² |x|²"))
    add_legend(figure, colours)
    used = frame["support"].iloc[0]
    inputs = "all inputs in use" if used == 1 else f"1/{1 / used:g} of the inputs in use"
    figure.suptitle(f"Crosstalk on a retrieved model, {inputs}\npoints: measured; lines: Proposition 2", fontsize=10)
    return figure

"""Draws the crosstalk of given models, by context: as measured, and as predicted."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, Final

import matplotlib as mpl
import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullLocator, StrMethodFormatter

from analysis.figures.layout import Key, Texts, sheet
from analysis.figures.looks import Look
from analysis.figures.styles import styled
from analysis.roles import in_order, said

COLOURS: Final = "viridis_r"


@styled
def draw(frame: pd.DataFrame, where: Mapping[str, Any] = MappingProxyType({})) -> Figure:
    """One panel for each size N, a row for each context, a point for each number of models K.

    Crosstalk is shown over (K - 1) / N, the crosstalk of orthogonal contexts that mix all inputs. So a context that
    follows the theory's law in K has all its points in one place.

    Args:
        frame: rows of one experiment: context, width, num_models, second_moment, predicted, seed, support.
        where: the settings that tell this experiment from the store's others, with their values here.
    """
    contexts = in_order(frame["context"].unique().tolist())
    numbers = sorted(frame["num_models"].unique())
    colours = mpl.colormaps[COLOURS](np.linspace(0.08, 1, len(numbers)))
    looks = {
        str(k): Look(colour=mpl.colors.to_rgb(colour), marker="o", dashes=())
        for k, colour in zip(numbers, colours, strict=True)
    }
    theory = {"Proposition 2": Look(colour=(0, 0, 0), marker="|", dashes=())}
    used = frame["support"].iloc[0]
    inputs = "all inputs in use" if used == 1 else f"1/{1 / used:g} of the inputs in use"
    seeds = frame.groupby(["context", "width", "num_models"])["seed"].nunique()
    others = [said(setting, value) for setting, value in where.items() if setting != "support"]
    texts = Texts(
        title=", ".join([f"Crosstalk on a retrieved model, {inputs}", *others]),
        caption="Points: E |crosstalk|² over E |w|² |x|², measured, times N / (K - 1), which is 1 for orthogonal "
        f"contexts that mix all inputs. {'One seed' if seeds.max() == 1 else f'Mean of {seeds.max()} seeds'}. "
        "A context without a black mark has no prediction.",
        keys=[
            Key(title="models stored together, K", looks=looks, lines=False),
            Key(title="", looks=theory, lines=False),
        ],
    )
    widths = sorted(frame["width"].unique())
    longest = max(map(len, contexts))
    figure, grid = sheet(
        [f"N = {width}" for width in widths], texts, height=0.3 + 0.135 * len(contexts), left=0.12 + 0.053 * longest
    )
    for axes, width in zip(grid, widths, strict=True):
        panel = frame[frame["width"] == width]
        means = panel.groupby(["context", "num_models"], as_index=False)[["second_moment", "predicted"]].mean()
        scale = width / (means["num_models"] - 1)
        row = means["context"].map({context: place for place, context in enumerate(contexts)})
        points = means.assign(row=row, measured=scale * means["second_moment"], theory=scale * means["predicted"])
        for number, look in zip(numbers, looks.values(), strict=True):
            some = points[points["num_models"] == number]
            axes.plot(some["measured"], some["row"], "o", color=look.colour, markersize=3, alpha=0.85)
        predicted = points.groupby("row")["theory"].mean()
        axes.plot(predicted, predicted.index, "|", color="black", markersize=8, markeredgewidth=1.1)
        axes.set(xscale="log", xlabel="crosstalk · N/(K−1)")  # noqa: RUF001 - a minus
        axes.xaxis.set_major_locator(LogLocator(subs=(1, 3), numticks=4))
        axes.xaxis.set_major_formatter(StrMethodFormatter("{x:g}"))
        axes.xaxis.set_minor_locator(NullLocator())
        axes.set_yticks(range(len(contexts)), contexts)
    grid[0].set_ylim(len(contexts) - 0.4, -0.6)
    return figure

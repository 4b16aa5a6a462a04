"""Mean accuracy against all bytes that a number of tasks costs: masks and contexts on one scale."""

from collections.abc import Sequence
from typing import Final

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.ticker import EngFormatter

from analysis.figures.base import UnsupportedError, add_legend, finish, new_figure, palette, refuse_cycles, right_margin
from analysis.tables import Measured, mean_accuracy, over_seeds

SHARES: Final = (0.1, 0.2, 0.5, 1.0)  # of the tasks, a panel each


def draw(measured: Measured) -> Figure:
    """A panel for each of some numbers of tasks, a curve over widths for each context or kind of mask.

    Bytes are those of the shared weights, 4 for each number, and of what all these tasks have of their own.

    Raises:
        UnsupportedError: no two curves have several widths, their bytes are not known, or a stream has cycles.
    """
    refuse_cycles(measured.evals, "its tasks are trained more than once")
    of_label = measured.evals.groupby("context", observed=True)["width"].nunique()
    if (of_label > 1).sum() < 2:
        raise UnsupportedError("needs several widths of at least two kinds of contexts or masks")
    columns = ["context_bytes_per_task", "total_bytes", "num_tasks"]
    if measured.trials.empty or measured.trials[columns].isna().any(axis=1).all():
        raise UnsupportedError("needs trials whose sizes in bytes are known")
    frame = mean_accuracy(measured.best_lr)
    sizes = measured.trials.set_index("trial_id")[columns].astype(float)
    rows = sizes.loc[frame["trial_id"]].reset_index(drop=True)
    unused = (rows["num_tasks"] - frame["tasks_seen"]) * rows["context_bytes_per_task"]
    frame = frame.assign(bytes=rows["total_bytes"] - unused).dropna(subset="bytes")
    figure = _panels(frame, _numbers_of_tasks(frame["tasks_seen"]))
    title = "Masks and contexts at equal bytes: weights and what tasks have of their own"
    return finish(figure, title, frame, measured.evals)


def _numbers_of_tasks(there: pd.Series) -> list[int]:
    """Those nearest to some shares of the largest."""
    numbers = np.unique(there)
    wanted = [numbers[np.abs(numbers - share * numbers[-1]).argmin()] for share in SHARES]
    return sorted({int(number) for number in wanted})


def _panels(frame: pd.DataFrame, numbers: Sequence[int]) -> Figure:
    colours = palette(set(frame["context"]))
    figure, grid = new_figure(1, len(numbers), 2.8, 2.8, right=right_margin(colours))
    for number, axes in zip(numbers, grid.flat, strict=True):
        points = over_seeds(frame[frame["tasks_seen"] == number], ["context", "width", "bytes"], "accuracy")
        for context, colour in colours.items():
            curve = points[points["context"] == context].sort_values("bytes")
            axes.plot(curve["bytes"], curve["mean"], "o-", color=colour, label=context, markersize=4)
            axes.fill_between(curve["bytes"], curve["low"], curve["high"], color=colour, alpha=0.2, lw=0)
        axes.set(xscale="log", xlabel="bytes in all", title=f"{number} task{'s' if number > 1 else ''}")
        axes.xaxis.set_major_formatter(EngFormatter(unit="B", places=0))
    grid.flat[0].set(ylabel="mean accuracy", ylim=(0, 1))
    add_legend(figure, colours)
    return figure

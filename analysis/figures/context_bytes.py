"""Mean accuracy at the end against bytes for each task: what contexts, or heads of their own, cost."""

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.ticker import EngFormatter, FixedLocator, NullLocator

from analysis.figures.base import Axis, UnsupportedError, add_legend, finish, name_panels, palette, width_panels
from analysis.tables import Measured, mean_accuracy, over_seeds


def draw(measured: Measured) -> Figure:
    """One panel for each width, one point for each context.

    Contexts of no bytes stand at the left edge, where a logarithmic axis has no place for them.

    Raises:
        UnsupportedError: no width has three contexts of different sizes.
    """
    sizes = bytes_per_task(measured.trials)
    if sizes.nunique() < 3:  # which takes no time to find
        raise UnsupportedError("needs three contexts of different sizes")
    frame = mean_accuracy(measured.best_lr)
    frame = frame[frame["tasks_seen"] == frame["tasks_seen"].max()]
    frame = frame.assign(bytes=frame["trial_id"].map(sizes)).dropna(subset="bytes")
    # The same for all seeds, but for trials of a time when what tasks share was not counted.
    frame["bytes"] = frame.groupby(["width", "context"])["bytes"].transform("max")
    if not frame.groupby("width")["bytes"].nunique().ge(3).any():
        raise UnsupportedError("needs three contexts of different sizes at one width")
    figure = _points(frame)
    num_tasks = min(frame["tasks_seen"].max(), measured.evals["num_tasks"].max())
    title = f"What contexts cost: mean accuracy over {num_tasks} tasks"
    return finish(figure, title, frame, measured.evals, shown_as="bars")


def bytes_per_task(trials: pd.DataFrame) -> "pd.Series[float]":
    """Bytes of each trial's contexts for one of its tasks, by trial_id; what all tasks share is divided among them."""
    if trials.empty:
        return pd.Series(dtype=float)
    of_all = trials["total_bytes"] - 4 * trials["num_params"]
    return pd.Series((of_all / trials["num_tasks"]).to_numpy(), index=trials["trial_id"], dtype=float)


def _points(frame: pd.DataFrame) -> Figure:
    colours = palette(set(frame["context"]))
    figure, of_width = width_panels(sorted(frame["width"].unique()), colours)
    some = frame.loc[frame["bytes"] > 0, "bytes"]
    least, most = np.floor(np.log10(some.min())), np.ceil(np.log10(some.max()))
    edge = 10 ** (least - 0.8)
    for width, axes in of_width.items():
        points = over_seeds(frame[frame["width"] == width], ["context", "bytes"], "accuracy").set_index("context")
        for context in points.index.unique():
            point = points.loc[[context]]
            x = point["bytes"].where(point["bytes"] > 0, edge)
            half = (point["high"] - point["mean"]).fillna(0)
            axes.errorbar(x, point["mean"], half, color=colours[context], label=context, fmt="o", capsize=3)
        if (frame["bytes"] == 0).any():
            axes.axvline(10 ** (least - 0.4), color="0.6", linestyle=":", linewidth=1)
    across = Axis(column="bytes", label="bytes for each task beside the shared weights")
    name_panels(figure, of_width, across, Axis(column="accuracy", label="mean accuracy"))
    add_legend(figure, colours)
    _logarithmic(figure, edge if (frame["bytes"] == 0).any() else None, int(least), int(most))
    return figure


def _logarithmic(figure: Figure, edge: float | None, least: int, most: int) -> None:
    """A logarithmic axis from 10**least to 10**most bytes, with a place for 0 at its edge where there is one."""
    size = EngFormatter(unit="B", places=0)
    powers = range(least, most + 1, 1 if most - least < 6 else 2)
    ticks = {10.0**power: size(10.0**power) for power in powers} | ({} if edge is None else {edge: "0"})
    for axes in figure.axes:
        axes.set(xscale="log", ylim=(0, 1), xlim=((edge or 10.0**least) / 1.8, 10.0**most * 1.3))
        axes.xaxis.set_major_locator(FixedLocator(list(ticks)))
        axes.xaxis.set_major_formatter(lambda x, position: ticks.get(x, ""))
        axes.xaxis.set_minor_locator(NullLocator())

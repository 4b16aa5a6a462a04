"""Draws mean accuracy at the end against the bytes that each task has of its own."""

from typing import Any

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.ticker import EngFormatter, FixedLocator, NullLocator

from analysis.captions import caption
from analysis.figures.base import Axis, Curves, OtherStudyError, mark_level, name_axes
from analysis.figures.layout import Texts, sheet
from analysis.figures.styles import styled
from analysis.measured import Measured
from analysis.tables import mean_accuracy, over_seeds


@styled
def draw(measured: Measured) -> Figure:
    """A point for each curve, at the bytes of all its contexts over the number of tasks.

    An open point shows the bytes of one further task where they are fewer, because some bytes are stored once for all
    tasks (OnePower's first context). Contexts without bytes stand at the left edge: a logarithmic axis has no zero.

    Raises:
        OtherStudyError: no panel has three contexts of different sizes.
    """
    sizes = bytes_per_task(measured.trials)
    if sizes["bytes"].nunique() < 3:  # asked first, because it takes no time
        raise OtherStudyError("needs three contexts of different sizes")
    frame = mean_accuracy(measured.best_lr)
    frame = frame[frame["tasks_seen"] == frame["tasks_seen"].max()]
    frame = measured.beside(frame).merge(sizes, on="trial_id").dropna(subset="bytes")
    # All seeds have the same bytes, but for old trials, which do not count the bytes that tasks share.
    shown = Curves(frame, measured.roles)
    alike = frame.groupby(list(dict.fromkeys(["width", *measured.roles.settings])), dropna=False)
    frame["bytes"] = alike["bytes"].transform("max")
    if not any(rows["bytes"].nunique() >= 3 for _, rows in shown.panels):
        raise OtherStudyError("needs three contexts of different sizes at one width")
    return _points(measured, shown)


def bytes_per_task(trials: pd.DataFrame) -> pd.DataFrame:
    """Columns trial_id, bytes (of all tasks, over their number), further (of one more task)."""
    columns = ["trial_id", "bytes", "further"]
    if trials.empty:
        return pd.DataFrame(columns=columns)
    of_all = trials["total_bytes"] - 4 * trials["num_params"]
    sizes = {"bytes": of_all / trials["num_tasks"], "further": trials["context_bytes_per_task"]}
    return trials[["trial_id"]].assign(**{name: values.astype(float) for name, values in sizes.items()})


def _points(measured: Measured, shown: Curves) -> Figure:
    frame = shown.frame
    further = frame["further"].where(frame["further"] < 0.99 * frame["bytes"])
    some = pd.concat([frame["bytes"], further])
    some = some[some > 0]
    least, most = int(np.floor(np.log10(some.min()))), int(np.ceil(np.log10(some.max())))
    edge = 10 ** (least - 0.8)
    is_at_edge = bool((frame["bytes"] == 0).any())
    num_tasks = min(frame["tasks_seen"].max(), measured.evals["num_tasks"].max())
    notes = [
        "Bytes over all layers.",
        f"Open points: bytes of one further task, where all {num_tasks} have more on average (some are stored once)."
        if further.notna().any()
        else "",
    ]
    texts = Texts(
        title=measured.titled(f"What contexts cost: mean accuracy over {num_tasks} tasks"),
        caption=caption(measured, frame, " ".join(filter(None, notes)), shown_as="bars"),
        keys=shown.keys(lines=False),
    )
    panels = shown.panels
    figure, grid = sheet([name for name, _ in panels], texts, right=0.2)
    for axes, (_, rows) in zip(grid, panels, strict=True):
        for look, of_curve in shown.of(rows):
            point = over_seeds(
                of_curve.assign(bytes=of_curve["bytes"].where(of_curve["bytes"] > 0, edge)), ["bytes"], "accuracy"
            )
            half = (point["high"] - point["mean"]).fillna(0)
            unjoined: dict[str, Any] = {**look.line(), "linestyle": "none", "marker": look.marker, "capsize": 1.5}
            axes.errorbar(point["bytes"], point["mean"], half, **unjoined)
            more = further[of_curve.index].max()
            if more > 0:
                line: dict[str, Any] = {
                    "color": look.colour,
                    "linewidth": 0.7,
                    "markerfacecolor": "white",
                    "zorder": 1.5,
                }
                axes.plot([more, point["bytes"].iloc[0]], [point["mean"].iloc[0]] * 2, marker=look.marker, **line)
        if is_at_edge:
            axes.axvline(10 ** (least - 0.4), color="0.6", linestyle=":", linewidth=0.8)
        mark_level(axes, measured.chance, "chance")
    name_axes(grid, Axis(column="bytes", label="bytes for each task"), Axis(column="accuracy", label="mean accuracy"))
    _logarithmic(figure, edge if is_at_edge else None, least, most)
    return figure


def _logarithmic(figure: Figure, edge: float | None, least: int, most: int) -> None:
    """A logarithmic axis from 10**least to 10**most bytes; `edge`, where it is given, stands for 0 bytes."""
    size = EngFormatter(unit="B", places=0)
    axes = figure.axes[0]
    room = axes.get_position().width * figure.get_figwidth()
    marks = max(2, int(room / 0.4) - (edge is not None))
    powers = range(least, most + 1, -(-(most - least + 1) // marks))
    ticks = {10.0**power: size(10.0**power) for power in powers} | ({} if edge is None else {edge: "0"})
    for axes in figure.axes:
        axes.set(xscale="log", ylim=(0, 1), xlim=((edge or 10.0**least) / 1.8, 10.0**most * 1.3))
        axes.xaxis.set_major_locator(FixedLocator(list(ticks)))
        axes.xaxis.set_major_formatter(lambda x, position: ticks.get(x, ""))
        axes.xaxis.set_minor_locator(NullLocator())

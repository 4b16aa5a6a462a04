"""Draws a heat map for each curve: mean accuracy by a setting, such as width, and by number of tasks."""

from typing import Final

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from analysis.captions import caption
from analysis.figures.base import OtherStudyError, UnsupportedError, each_curve, refuse_cycles
from analysis.figures.layout import Texts, sheet
from analysis.figures.styles import current, styled
from analysis.measured import Measured
from analysis.roles import is_number, name_of, text_of, values_of
from analysis.tables import mean_accuracy

NARROWEST: Final = 0.75  # inches, for the name of the horizontal axis


@styled
def draw(measured: Measured) -> Figure:
    """Rows are values of the setting, columns are numbers of tasks.

    Raises:
        OtherStudyError: no setting has two values, or a stream has cycles.
        UnsupportedError: fewer than two numbers of tasks were measured, or there are too many curves.
    """
    refuse_cycles(measured.evals, "the number of tasks stored no longer grows; see first-task")
    if not measured.roles.x:
        raise OtherStudyError("needs a setting of at least two values, such as width")
    x = measured.roles.x[0]
    measured = measured.against(x)
    frame = measured.beside(mean_accuracy(measured.best_lr))
    frame = frame[frame[x].notna()]
    if x not in frame or frame[x].nunique() < 2:
        raise OtherStudyError(f"needs at least two values of {x}")
    if frame["tasks_seen"].nunique() < 2:
        raise UnsupportedError("needs all tasks measured after at least two numbers of tasks (eval_tasks: all)")
    maps = each_curve(frame, measured.roles.settings)
    return _draw(measured, frame, maps, x)


def _draw(measured: Measured, frame: pd.DataFrame, maps: list[tuple[str, pd.DataFrame]], x: str) -> Figure:
    values = values_of(frame, x)
    if all(map(is_number, values)):
        values.reverse()
    seen = sorted(frame["tasks_seen"].unique())
    texts = Texts(
        title=measured.titled("Mean accuracy over all tasks stored"),
        caption=caption(measured, frame, x=x, shown_as=None),
    )
    longest = max(len(name) for name, _ in maps)
    columns = max(1, min(len(maps), 5, int(current().page / (max(0.065 * longest, NARROWEST) + 0.15))))
    height = max(0.17 * len(values), 0.7)
    figure, grid = sheet([name for name, _ in maps], texts, columns=columns, height=height, right=0.55)
    for axes, (_, rows) in zip(grid, maps, strict=True):
        table = rows.pivot_table(index=x, columns="tasks_seen", values="accuracy")
        table = table.reindex(index=values, columns=seen)  # all maps alike, blank where not measured
        edges = [*(np.array(seen) - 0.5), seen[-1] + 0.5]
        image = axes.pcolormesh(
            edges, np.arange(len(values) + 1), table, vmin=0, vmax=1, cmap="viridis", rasterized=True
        )
        axes.set_yticks(np.arange(len(values)) + 0.5, [text_of(value) for value in values])
        axes.set_xlabel("tasks stored")
        axes.grid(visible=False)
        if axes.get_subplotspec().is_first_col():  # type: ignore[union-attr]
            axes.set_ylabel(name_of(x))
    grid[0].set_ylim(len(values), 0)
    add_bar(figure, grid[-1 if len(maps) <= columns else columns - 1], image, "mean accuracy")
    return figure


def add_bar(figure: Figure, beside: object, image: object, name: str) -> None:
    """Draw a bar of colours for all maps at the right of the first row, in the half inch that is left there."""
    _, bottom, _, height = beside.get_position().bounds  # type: ignore[attr-defined]
    width = figure.get_figwidth()
    bar = figure.add_axes((1 - 0.47 / width, bottom, 0.08 / width, height))
    figure.colorbar(image, cax=bar, label=name)  # type: ignore[arg-type]
    bar.yaxis.label.set_fontsize(6.5)
    bar.grid(visible=False)

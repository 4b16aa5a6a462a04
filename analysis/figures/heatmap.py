"""Draws a heat map for each curve: mean accuracy by a setting, such as width, and by number of tasks."""

from typing import Final

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from analysis.captions import caption
from analysis.figures.base import OtherStudyError, UnsupportedError, refuse_cycles
from analysis.figures.layout import PAGE, Texts, sheet
from analysis.measured import Measured
from analysis.roles import is_number, name_of, said, text_of, values_of
from analysis.tables import mean_accuracy

MOST_MAPS: Final = 24


def draw(measured: Measured) -> Figure:
    """Rows are values of the setting, columns are numbers of tasks.

    Raises:
        OtherStudyError: no setting has two values, or a stream has cycles.
        UnsupportedError: fewer than two numbers of tasks were measured, or there would be more than MOST_MAPS maps.
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
    maps = _maps(frame, measured.roles.settings)
    if len(maps) > MOST_MAPS:
        raise UnsupportedError(f"would be {len(maps)} maps; draw fewer curves")
    return _draw(measured, frame, maps, x)


def _maps(frame: pd.DataFrame, settings: list[str]) -> list[tuple[str, pd.DataFrame]]:
    """The name and the rows of each curve."""
    maps = [("", frame)]
    for setting in settings:
        maps = [
            (f"{name}, {said(setting, value)}" if name else said(setting, value), some)
            for name, rows in maps
            for value in values_of(rows, setting)
            if not (some := rows[rows[setting].isna() if value is None else rows[setting] == value]).empty
        ]
    return maps


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
    columns = max(1, min(len(maps), 5, int(PAGE / (0.065 * longest + 0.15))))
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
    _add_bar(figure, grid[-1 if len(maps) <= columns else columns - 1], image)
    return figure


def _add_bar(figure: Figure, beside: object, image: object) -> None:
    """Draw a bar of colours for all maps at the right of the first row."""
    _, bottom, _, height = beside.get_position().bounds  # type: ignore[attr-defined]
    width = figure.get_figwidth()
    bar = figure.add_axes((1 - 0.47 / width, bottom, 0.08 / width, height))
    figure.colorbar(image, cax=bar, label="mean accuracy")  # type: ignore[arg-type]
    bar.yaxis.label.set_fontsize(6.5)
    bar.grid(visible=False)

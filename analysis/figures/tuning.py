"""Draws how a study chose its settings: accuracy on validation images against each setting that was chosen."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any, Final

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, MaxNLocator, NullLocator, StrMethodFormatter

from analysis.figures.base import LETTER_INCHES, Axis, UnsupportedError, is_geometric, name_axes
from analysis.figures.layout import Key, Texts, panel_inches, sheet
from analysis.figures.looks import Look, looks_of_contexts, unjoined
from analysis.figures.styles import styled
from analysis.roles import is_number, name_of, said, text_of, values_of
from analysis.tuned import Cell, without_pieces

RING: Final[dict[str, Any]] = {
    "marker": "o",
    "markersize": 7,
    "markerfacecolor": "none",
    "linestyle": "none",
    "zorder": 4,
}


@styled
def draw(cells: Sequence[Cell], trials: pd.DataFrame) -> Figure:
    """A panel for each setting that was chosen, and for each width or other axis; rings are around what was chosen.

    Args:
        cells: what was chosen.
        trials: all trials of the store, as stored.

    Raises:
        UnsupportedError: the trials that were tried are not in the store.
    """
    frame = _frame(cells, trials)
    if frame.empty:
        raise UnsupportedError("needs the trials that tuning.json names")
    looks = looks_of_contexts(frame["context"].unique().tolist())
    panels = list(frame.groupby(["setting", "place"], sort=False))
    texts = Texts(
        title="How settings were chosen: accuracy on validation images",
        caption=_caption(cells, frame),
        keys=[Key(title="", looks={name: replace(look, label=name) for name, look in looks.items()})],
    )
    names = [[text_of(value) for value in values_of(rows, "value") if not is_number(value)] for _, rows in panels]
    room = panel_inches(len(panels))
    turned = any(sum(len(name) + 2 for name in some) * LETTER_INCHES > room for some in names)
    longest = max(len(name) for some in names for name in ["", *some])
    below = 0.42 + (0.5 * longest * LETTER_INCHES if turned else 0)
    figure, grid = sheet([str(place) for (_, place), _ in panels], texts, sharex=False, below=below)
    y = Axis(column="accuracy", label="validation accuracy")
    for axes, ((setting, _), rows) in zip(grid, panels, strict=True):
        name_axes([axes], Axis(column="value", label=name_of(str(setting)) or str(setting)), y)
        _mark(axes, values_of(rows, "value"))
        for name, some in rows.groupby("context", sort=False):
            _draw_one(axes, some, looks[str(name)])
        if turned and not is_number(rows["value"].iloc[0]):
            for text in axes.get_xticklabels():
                text.set(rotation=30, ha="right", rotation_mode="anchor")
    return figure


def _frame(cells: Sequence[Cell], trials: pd.DataFrame) -> pd.DataFrame:
    """A row for each combination that was tried and each of its settings.

    Columns context, place (the axes' values), setting, value, accuracy, is_best, is_joined (points make a line).
    """
    by_id = trials.set_index("trial_id")
    varying = _varying(cells)
    rows = []
    for cell in cells:
        place = ", ".join(said(name, cell.cell[name]) for name in varying if name in cell.cell)
        for tried in cell.tried:
            if tried.trials[0] not in by_id.index:
                continue
            label = "".join(without_pieces(str(by_id.loc[tried.trials[0], "curve_of"]), list(cell.chosen)).values())
            rows += [
                {
                    **{"context": label, "place": place, "setting": setting, "value": value},
                    **{"accuracy": tried.accuracy, "is_best": tried.values == cell.chosen},
                    "is_joined": len(cell.chosen) == 1 or cell.search == "grid",
                }
                for setting, value in tried.values.items()
            ]
    return pd.DataFrame(rows).drop_duplicates() if rows else pd.DataFrame()


def _varying(cells: Sequence[Cell]) -> list[str]:
    """The numbers that differ among cells and that every cell has, such as the width."""
    names = [name for name in cells[0].cell if all(is_number(cell.cell.get(name)) for cell in cells)] if cells else []
    return [name for name in names if len({cell.cell[name] for cell in cells}) > 1]


def _draw_one(axes: Axes, some: pd.DataFrame, look: Look) -> None:
    """All that a curve tried, joined where the rest was at its best there, and a ring around the chosen."""
    shown = some.groupby("value", as_index=False)["accuracy"].max() if some["is_joined"].all() else some
    shown = shown.assign(at=_at(shown["value"])).sort_values("at")
    line = look if some["is_joined"].all() else unjoined(look)
    axes.plot(shown["at"], shown["accuracy"], **line.line(), **line.points())
    best = some[some["is_best"]].head(1)
    axes.plot(_at(best["value"]), best["accuracy"], color=look.colour, **RING)


def _at(values: "pd.Series[Any]") -> "pd.Series[Any]":
    """Where values stand: numbers to scale, names under their names."""
    return values.astype(float) if values.map(is_number).all() else values.map(text_of)


def _mark(axes: Axes, values: Sequence[Any]) -> None:
    if not all(map(is_number, values)):
        return
    if is_geometric(numbers := [float(value) for value in values]):
        axes.set_xscale("log")
        decades = math.log10(max(numbers) / min(numbers))
        axes.xaxis.set_major_locator(LogLocator(subs=(1, 3) if decades < 2 else (1,), numticks=5))
        axes.xaxis.set_minor_locator(NullLocator())
    else:
        axes.xaxis.set_major_locator(MaxNLocator(4))
    axes.xaxis.set_major_formatter(StrMethodFormatter("{x:g}"))


def _caption(cells: Sequence[Cell], frame: pd.DataFrame) -> str:
    return " ".join(_sentences(cells, frame))


def _sentences(cells: Sequence[Cell], frame: pd.DataFrame) -> Iterator[str]:
    numbers = {len(tried.trials) for cell in cells for tried in cell.tried}
    seeds = "one seed" if numbers == {1} else f"a mean over {max(numbers)} seeds"
    how = {"grid": "a grid", "random": "random search", "optuna": "Optuna's TPE"}[cells[0].search]
    tried = sorted({len(cell.tried) for cell in cells})
    yield f"Chosen by {how} among {' to '.join(dict.fromkeys(map(str, (tried[0], tried[-1]))))} for each."
    yield f"Points: {seeds}, and a mean over tasks; on training images that no step saw."
    yield "Rings: what was chosen, and then measured with other seeds on test images."
    if frame["is_joined"].all() and any(len(cell.chosen) > 1 for cell in cells):
        yield "Each point has the best of the other settings."

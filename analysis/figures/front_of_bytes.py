"""Draws mean accuracy against all bytes that have to be kept to answer a number of tasks and to go on learning."""

from typing import Final

import pandas as pd
from matplotlib.figure import Figure

from analysis.figures.fronts import Price, draw_front
from analysis.figures.styles import styled
from analysis.measured import Measured


def _kept(rows: pd.DataFrame) -> "pd.Series[float]":
    """Less what further tasks would add."""
    unused = (rows["num_tasks"] - rows["tasks_seen"]) * rows["kept_bytes_per_task"]
    kept: pd.Series[float] = rows["kept_bytes"] - unused
    return kept


BYTES: Final = Price(
    columns=("kept_bytes", "kept_bytes_per_task"),
    of=_kept,
    label="bytes kept",
    unit="B",
    title="What memory buys",
    note="Bytes: all that must be kept to answer every task and to learn further ones: weights, contexts, masks, "
    "heads, images, what a protection remembers.",
    limit="max_bytes",
)


@styled
def draw(measured: Measured) -> Figure:
    """A line for each method.

    Raises:
        OtherStudyError: as `draw_front`.
    """
    return draw_front(measured, BYTES)

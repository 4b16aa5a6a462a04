"""Draws mean accuracy against the floating-point operations of training a number of tasks."""

from typing import Final

import pandas as pd
from matplotlib.figure import Figure

from analysis.figures.fronts import Price, draw_front
from analysis.figures.styles import styled
from analysis.measured import Measured


def _of_training(rows: pd.DataFrame) -> "pd.Series[float]":
    """Every task has an equal share."""
    flops: pd.Series[float] = rows["train_flops"] * rows["tasks_seen"] / rows["num_tasks"]
    return flops


OPERATIONS: Final = Price(
    columns=("train_flops",),
    of=_of_training,
    label="operations of training",
    unit="",
    title="What training buys",
    note="Operations: floating-point ones of all products, a multiplication and an addition counted as two.",
)


@styled
def draw(measured: Measured) -> Figure:
    """A line for each method.

    Raises:
        OtherStudyError: as `draw_front`.
    """
    return draw_front(measured, OPERATIONS)

"""Figures by file name: one line for each file of this package."""

from collections.abc import Callable
from typing import Final

from matplotlib.figure import Figure

from analysis.figures import (
    around_the_circle,
    capacity,
    capacity_by_width,
    context_bytes,
    equal_bytes,
    first_task,
    heatmap,
    interference,
    learning_rate,
    masks_used,
)
from analysis.figures.base import UnsupportedError
from analysis.tables import Measured

FIGURES: Final[dict[str, Callable[[Measured], Figure]]] = {
    "capacity": capacity.draw,
    "capacity-by-width": capacity_by_width.draw,
    "first-task": first_task.draw,
    "interference": interference.draw,
    "heatmap": heatmap.draw,
    "learning-rate": learning_rate.draw,
    "around-the-circle": around_the_circle.draw,
    "bytes": context_bytes.draw,
    "equal-bytes": equal_bytes.draw,
    "masks-used": masks_used.draw,
}

__all__ = ["FIGURES", "UnsupportedError"]

"""The figures by file name, one line each."""

from collections.abc import Callable
from typing import Final

from matplotlib.figure import Figure

from analysis.figures import (
    around_the_circle,
    by_setting,
    capacity,
    context_bytes,
    equal_bytes,
    first_task,
    front_of_bytes,
    front_of_operations,
    heatmap,
    interference,
    law,
    masks_used,
    predicted,
)
from analysis.figures.base import OtherStudyError, UnsupportedError
from analysis.measured import Measured

FIGURES: Final[dict[str, Callable[[Measured], Figure]]] = {
    "capacity": capacity.draw,
    "first-task": first_task.draw,
    "interference": interference.draw,
    "heatmap": heatmap.draw,
    "law": law.draw,
    "learning-rate": by_setting.draw_lr,
    "around-the-circle": around_the_circle.draw,
    "bytes": context_bytes.draw,
    "equal-bytes": equal_bytes.draw,
    "front-of-bytes": front_of_bytes.draw,
    "front-of-operations": front_of_operations.draw,
    "masks-used": masks_used.draw,
    "predicted": predicted.draw,
    "predicted-first-task": predicted.draw_first_task,
    "predicted-capacity": predicted.draw_capacity,
}
BY_SETTING: Final[dict[str, Callable[[Measured, str], Figure]]] = {
    "capacity-by": by_setting.draw_capacity,
    "accuracy-by": by_setting.draw_accuracy,
}
"""Figures that run over a setting. The setting's name follows the figure's in the file name."""

__all__ = ["BY_SETTING", "FIGURES", "OtherStudyError", "UnsupportedError"]

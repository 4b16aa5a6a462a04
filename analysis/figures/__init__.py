"""The figures, one function each: measurements in, a matplotlib figure out. `psp plot` draws those of FIGURES.

`style` chooses how wide figures are and how much they say; `save` writes one as `psp plot` does:

    from analysis import figures, load
    with figures.style("paper"):
        figures.save(figures.capacity(load("results/quickstart")), "capacity.pdf")
"""

from collections.abc import Callable
from typing import Final

from matplotlib.figure import Figure

from analysis.figures.around_the_circle import draw as around_the_circle
from analysis.figures.base import OtherStudyError, UnsupportedError
from analysis.figures.by_setting import draw_accuracy as accuracy_by
from analysis.figures.by_setting import draw_capacity as capacity_by
from analysis.figures.by_setting import draw_lr as learning_rate
from analysis.figures.capacity import draw as capacity
from analysis.figures.context_bytes import draw as context_bytes
from analysis.figures.crosstalk import draw as crosstalk
from analysis.figures.equal_bytes import draw as equal_bytes
from analysis.figures.first_task import draw as first_task
from analysis.figures.forgetting import draw as forgetting
from analysis.figures.front_of_bytes import draw as front_of_bytes
from analysis.figures.front_of_operations import draw as front_of_operations
from analysis.figures.heatmap import draw as heatmap
from analysis.figures.interference import draw as interference
from analysis.figures.law import draw as law
from analysis.figures.layout import caption_of, title_of
from analysis.figures.loss import draw as loss
from analysis.figures.masks_used import draw as masks_used
from analysis.figures.predicted import draw as predicted
from analysis.figures.predicted import draw_capacity as predicted_capacity
from analysis.figures.predicted import draw_first_task as predicted_first_task
from analysis.figures.r_matrix import draw as r_matrix
from analysis.figures.saving import save
from analysis.figures.styles import style
from analysis.figures.through_time import draw as through_time
from analysis.figures.tuning import draw as tuning
from analysis.measured import Measured

FIGURES: Final[dict[str, Callable[[Measured], Figure]]] = {
    "capacity": capacity,
    "first-task": first_task,
    "interference": interference,
    "forgetting": forgetting,
    "through-time": through_time,
    "loss": loss,
    "r-matrix": r_matrix,
    "heatmap": heatmap,
    "law": law,
    "learning-rate": learning_rate,
    "around-the-circle": around_the_circle,
    "bytes": context_bytes,
    "equal-bytes": equal_bytes,
    "front-of-bytes": front_of_bytes,
    "front-of-operations": front_of_operations,
    "masks-used": masks_used,
    "predicted": predicted,
    "predicted-first-task": predicted_first_task,
    "predicted-capacity": predicted_capacity,
}
"""By file name. The functions of this package have the modules' names, which `import` still finds."""
BY_SETTING: Final[dict[str, Callable[[Measured, str], Figure]]] = {
    "capacity-by": capacity_by,
    "accuracy-by": accuracy_by,
}
"""Figures that run over a setting. The setting's name follows the figure's in the file name."""

__all__ = [
    "BY_SETTING",
    "FIGURES",
    "OtherStudyError",
    "UnsupportedError",
    "accuracy_by",
    "around_the_circle",
    "capacity",
    "capacity_by",
    "caption_of",
    "context_bytes",
    "crosstalk",
    "equal_bytes",
    "first_task",
    "forgetting",
    "front_of_bytes",
    "front_of_operations",
    "heatmap",
    "interference",
    "law",
    "learning_rate",
    "loss",
    "masks_used",
    "predicted",
    "predicted_capacity",
    "predicted_first_task",
    "r_matrix",
    "save",
    "style",
    "through_time",
    "title_of",
    "tuning",
]

"""The incremental stream: CIFAR-10 first, then ten classes of CIFAR-100 after ten others."""

from typing import Final

import torch

from psp_core.course import Course
from psp_core.datasets import Data, Sizes
from psp_core.streams.base import Stream, Tasks
from psp_core.streams.split import SplitTasks

DATASET: Final = "cifar-10-100"
CLASSES: Final = 10
MOST_TASKS: Final = 10


class Incremental(Stream, name="incremental"):
    """Task 0 is CIFAR-10; task k >= 1 has the fine labels 10 k to 10 k + 9 of CIFAR-100, as 0 to 9.

    Source: paper A, section 4.2.3 (iCIFAR). The labels are those of the authors' code, which begins at
    10; the paper's Fig. 6a shows CIFAR-100's first classes as the second task's (papers.md, A7 and A8).
    A batch is drawn without replacement, epoch after epoch; the authors' batches are drawn anew each.
    """

    @property
    def is_random(self) -> bool:
        """The order of classes is given."""
        return False

    def tasks(self, data: Sizes, num_tasks: int, seed: int) -> Tasks:
        """Ten classes each: CIFAR-100's stand behind CIFAR-10's, whose task takes the place of the first ten."""
        return SplitTasks(torch.cat([torch.arange(10), torch.arange(20, 110)]), CLASSES)

    def num_outputs(self, data: Sizes) -> int:
        """Ten."""
        return CLASSES

    def check(self, trial: Course) -> None:
        """Refuse other data sets and more than ten tasks."""
        super().check(trial)
        name = trial.of(Data).name
        if name != DATASET:
            raise ValueError(f"stream='incremental' is made of dataset={DATASET!r}, not {name!r}; use it.")
        if trial.num_tasks > MOST_TASKS:
            raise ValueError(f"num_tasks={trial.num_tasks}: stream='incremental' has 10 at most; give fewer.")

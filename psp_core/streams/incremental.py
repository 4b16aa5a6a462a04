"""The incremental stream: CIFAR-10 first, then ten classes of CIFAR-100 after ten others."""

from typing import TYPE_CHECKING, ClassVar, Final

import torch
from torch import Tensor

from psp_core.streams.split import Split

if TYPE_CHECKING:
    from psp_core.trial import TrialConfig

DATASET: Final = "cifar-10-100"


class Incremental(Split):
    """Task 0 is CIFAR-10; task k >= 1 has the fine labels 10 k to 10 k + 9 of CIFAR-100, as 0 to 9.

    Source: paper A, section 4.2.3 (iCIFAR). The labels are those of the authors' code, which begins at
    10; the paper's Fig. 6a shows CIFAR-100's first classes as the second task's (papers.md, A7 and A8).
    A batch is drawn without replacement, epoch after epoch; the authors' batches are drawn anew each.
    """

    name: ClassVar[str] = "incremental"

    @classmethod
    def check(cls, config: "TrialConfig") -> None:
        """Refuse other data sets, other numbers of classes, and more than ten tasks."""
        if config.dataset != DATASET:
            raise ValueError(f"stream='incremental' is made of dataset={DATASET!r}, not {config.dataset!r}; use it.")
        if config.classes_per_task is not None or config.shuffle_classes or config.keep_labels:
            raise ValueError(
                "classes_per_task, shuffle_classes and keep_labels do not apply to stream='incremental', whose tasks "
                "have ten classes each, in order, as 0 to 9; leave them out, or use 'split'."
            )
        if config.num_tasks > 10:
            raise ValueError(f"num_tasks={config.num_tasks}: stream='incremental' has 10 at most; give fewer.")

    @classmethod
    def num_outputs(cls, config: "TrialConfig") -> int:
        """Ten."""
        return 10

    @classmethod
    def _in_order(cls, config: "TrialConfig") -> Tensor:
        return torch.cat([torch.arange(10), torch.arange(20, 110)])  # CIFAR-100's classes stand behind CIFAR-10's

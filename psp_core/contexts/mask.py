"""Mask contexts: each input is there or not."""

from typing import ClassVar

import torch
from torch import Tensor

from psp_core.contexts.diagonal import Diagonal


class Mask(Diagonal, name="mask"):
    """c(k) in {0, 1}^I, both equally likely: a task sees half of each layer's inputs.

    Not orthogonal: what is bound loses its masked inputs, and half of its squared length on average. So
    stored weights are retrieved with gaps. The crosstalk of one other model has the mean <w, x> / 4, not 0.
    One bit per input and task.

    Source: the released code's "{0,1} mask" (papers.md, A7); not in the paper.
    """

    is_orthogonal: ClassVar[bool] = False

    def draw(self, size: int, generator: torch.Generator) -> Tensor:
        """0 or 1 for each input."""
        return torch.randint(2, (size,), generator=generator)

    def bytes_per_task(self, size: int) -> int:
        """One bit for each input, rounded up to whole bytes."""
        return -(-size // 8)

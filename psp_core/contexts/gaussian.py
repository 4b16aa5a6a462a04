"""Gaussian contexts: each input is scaled at random."""

from typing import ClassVar

import torch
from torch import Tensor

from psp_core.contexts.base import Crosstalk
from psp_core.contexts.diagonal import Diagonal


class Gaussian(Diagonal, name="gaussian"):
    """c(k)_i from N(0, 1), independent.

    Not orthogonal: lengths are kept on average only, |c * x|^2 has the mean |x|^2. The crosstalk of one
    other model has mean 0 and the second moment sum w_i^2 x_i^2, that of binary contexts. 4 bytes per input
    and task.

    Source: the released code's "Gaussian" (papers.md, A7), of unit variance there too; not in the paper.
    """

    is_orthogonal: ClassVar[bool] = False
    crosstalk: ClassVar[Crosstalk | None] = "elementwise"

    def draw(self, size: int, generator: torch.Generator) -> Tensor:
        """A normal number for each input."""
        return torch.randn(size, generator=generator)

    def bytes_per_task(self, size: int) -> int:
        """A 4-byte number for each input."""
        return 4 * size

"""Ternary contexts: each input as it is, with its sign changed, or not there."""

from typing import ClassVar

import torch
from torch import Tensor

from psp_core.contexts.base import Crosstalk
from psp_core.contexts.diagonal import Diagonal


class Ternary(Diagonal, name="ternary"):
    """c(k) in {-1, 0, +1}^I, all three equally likely.

    Not orthogonal: what is bound loses a third of its inputs. The crosstalk of one other model has mean 0
    and the second moment (2/3)^2 sum w_i^2 x_i^2, that of binary contexts times the share of inputs that
    both models see; the signal is damped as well. Five values take a byte (3^5 = 243): ceil(I / 5) bytes
    per task.

    Source: the released code's "ternary" (papers.md, A7), equally likely there too; not in the paper.
    """

    is_orthogonal: ClassVar[bool] = False
    crosstalk: ClassVar[Crosstalk | None] = "elementwise"
    crosstalk_share: ClassVar[float] = 4 / 9

    def draw(self, size: int, generator: torch.Generator) -> Tensor:
        """-1, 0 or 1 for each input."""
        return torch.randint(-1, 2, (size,), generator=generator)

    def bytes_per_task(self, size: int) -> int:
        """A byte for five inputs, rounded up to whole bytes."""
        return -(-size // 5)

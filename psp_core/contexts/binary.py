"""Binary contexts: random signs."""

from typing import ClassVar

import torch
from torch import Tensor

from psp_core.contexts.base import Crosstalk
from psp_core.contexts.diagonal import Diagonal


def random_signs(shape: tuple[int, ...], generator: torch.Generator) -> Tensor:
    """-1 or +1, equally likely, as whole numbers."""
    return torch.randint(2, shape, generator=generator).mul_(2).sub_(1)


class Binary(Diagonal, name="binary"):
    """c(k) in {-1, +1}^I, both signs equally likely; its own inverse (paper A, section 2.2)."""

    crosstalk: ClassVar[Crosstalk | None] = "elementwise"

    def draw(self, size: int, generator: torch.Generator) -> Tensor:
        """A sign for each input."""
        return random_signs((size,), generator)

    def bytes_per_task(self, size: int) -> int:
        """One bit for each input, rounded up to whole bytes."""
        return -(-size // 8)

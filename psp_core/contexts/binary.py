"""Binary contexts: random signs."""

from typing import ClassVar

import torch
from torch import Tensor

from psp_core.contexts.base import Context


class Binary(Context):
    """c(k) in {-1, +1}^I, both signs equally likely; its own inverse (paper A, section 2.2)."""

    name: ClassVar[str] = "binary"

    def shape(self, size: int) -> tuple[int, ...]:
        """One sign for each input."""
        return (size,)

    def sample(
        self, num_tasks: int, size: int, generator: torch.Generator, device: torch.device | None = None
    ) -> Tensor:
        """Random signs, shape (K, I), float."""
        rows = [torch.randint(2, (size,), generator=generator) for _ in range(num_tasks)]
        return torch.stack(rows).float().mul_(2).sub_(1).to(device)

    def bind(self, x: Tensor, context: Tensor) -> Tensor:
        """The product c * x, shapes (..., B, I) and (..., I)."""
        return x * context.unsqueeze(-2)

    unbind = bind

    def bytes_per_task(self, size: int) -> int:
        """One bit for each input, rounded up to whole bytes."""
        return -(-size // 8)

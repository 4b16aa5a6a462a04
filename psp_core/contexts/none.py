"""No context: plain training on one task after another, the baseline ("standard" in the paper)."""

from typing import ClassVar

import torch
from torch import Tensor

from psp_core.contexts.base import Context


class NoContext(Context, name="none"):
    """c(k) = 1 for every task: all tasks share the same weights."""

    binding: ClassVar[str] = "product"  # with ones
    is_learnable: ClassVar[bool] = False

    def shape(self, size: int) -> tuple[int, ...]:
        """Empty."""
        return (0,)

    def sample(
        self, num_tasks: int, size: int, generator: torch.Generator, device: torch.device | None = None
    ) -> Tensor:
        """Nothing to draw: a tensor of shape (K, 0)."""
        return torch.empty(num_tasks, 0, device=device)

    def bind(self, x: Tensor, context: Tensor) -> Tensor:
        """Return x as it is, shape (..., B, I)."""
        return x

    unbind = bind

    def retrieve(self, weights: Tensor, context: Tensor) -> Tensor:
        """Return the weights as they are."""
        return weights

    store = retrieve

    def bytes_per_task(self, size: int) -> int:
        """Zero."""
        return 0

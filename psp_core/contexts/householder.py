"""Householder contexts: reflections."""

import torch
from torch import Tensor

from psp_core.contexts.base import Context

# K tasks, I inputs


class Householder(Context, name="householder"):
    """C(k) = 1 - 2 v v^T / |v|^2 with Gaussian v: symmetric, orthogonal, its own inverse.

    Orthogonal; 4 I bytes per task. A reflection changes a vector along one direction only, by
    2 <v, x> / |v|, on average a share 4 / I of its squared length. So tasks stay nearly the same:
    E[C(s) C(k)] = (1 - 2/I)^2 times the identity, and crosstalk is hardly less than without contexts.

    The division by |v|^2 is part of `bind`, so C stays orthogonal when v is trained.

    Source: the released code's "Householder" (papers.md, A7); not in the paper.
    """

    def shape(self, size: int) -> tuple[int, ...]:
        """The vector v."""
        return (size,)

    def sample(
        self, num_tasks: int, size: int, generator: torch.Generator, device: torch.device | None = None
    ) -> Tensor:
        """Vectors v, shape (K, I), from N(0, 1)."""
        return torch.stack([torch.randn(size, generator=generator) for _ in range(num_tasks)]).to(device)

    def bind(self, x: Tensor, context: Tensor) -> Tensor:
        """Reflect each row of x, x - 2 <v, x> v / |v|^2: shapes (..., B, I) and (..., I)."""
        scaled = context * (2 / context.square().sum(-1, keepdim=True))
        return torch.addcmul(x, x @ context.unsqueeze(-1), scaled.unsqueeze(-2), value=-1)

    unbind = bind

    def bytes_per_task(self, size: int) -> int:
        """A 4-byte number for each input."""
        return 4 * size

    def products(self, size: int) -> list[tuple[int, int, int]]:
        """A scalar product."""
        return [(1, size, 1)]

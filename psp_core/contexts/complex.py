"""Complex contexts: random phases, held as pairs of real numbers."""

import math
from typing import ClassVar

import torch
from torch import Tensor

from psp_core.contexts.base import Context

# K tasks, I inputs, 2 = real and imaginary part


def phases(size: int, generator: torch.Generator) -> Tensor:
    """Phases drawn uniformly from [-pi, pi), shape (I,), in double precision."""
    return (torch.rand(size, generator=generator, dtype=torch.float64) * 2 - 1) * math.pi


def unit_phasors(phase: Tensor) -> Tensor:
    """exp(i phase) as real pairs: shape (..., I) to (..., 2, I), single precision."""
    return torch.stack([phase.cos(), phase.sin()], dim=-2).float()


class Complex(Context):
    """c(k)_j = exp(i phi_j), phi_j ~ U[-pi, pi); the inverse is the conjugate (paper A, section 2.2)."""

    name: ClassVar[str] = "complex"
    is_complex: ClassVar[bool] = True

    def sample(self, num_tasks: int, size: int, generator: torch.Generator) -> Tensor:
        """Unit phasors, shape (K, 2, I)."""
        return unit_phasors(torch.stack([phases(size, generator) for _ in range(num_tasks)]))

    def bind(self, x: Tensor, context: Tensor) -> Tensor:
        """The complex product c * x, shapes (..., 2, I) and (2, I)."""
        quarter_turn = torch.stack([-x[..., 1, :], x[..., 0, :]], dim=-2)  # i x
        return x * context[0] + quarter_turn * context[1]

    def unbind(self, x: Tensor, context: Tensor) -> Tensor:
        """The complex product conj(c) * x."""
        return self.bind(x, torch.stack([context[0], -context[1]]))

    def bytes_per_task(self, size: int) -> int:
        """One 4-byte phase for each input."""
        return 4 * size

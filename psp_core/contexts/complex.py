"""Complex contexts: random phases, held as pairs of real numbers."""

import math
from typing import ClassVar

import torch
from torch import Tensor

from psp_core.contexts.base import Context, Crosstalk

# K tasks, I inputs, 2 = real and imaginary part


def phases(size: int, generator: torch.Generator) -> Tensor:
    """Phases drawn uniformly from [-pi, pi), shape (I,), in double precision."""
    return (torch.rand(size, generator=generator, dtype=torch.float64) * 2 - 1) * math.pi


def unit_phasors(phase: Tensor) -> Tensor:
    """exp(i phase) as real pairs: shape (..., I) to (..., 2, I), single precision."""
    return torch.stack([phase.cos(), phase.sin()], dim=-2).to(torch.get_default_dtype())


def complex_product(x: Tensor, y: Tensor) -> Tensor:
    """The product of complex numbers held as real pairs in the last dimension but one; broadcasts."""
    (a, b), (c, d) = x.unbind(-2), y.unbind(-2)
    return torch.stack([torch.addcmul(a * c, b, d, value=-1), torch.addcmul(a * d, b, c)], dim=-2)


def conjugate(x: Tensor) -> Tensor:
    """The complex conjugate of real pairs."""
    return torch.stack([x[..., 0, :], -x[..., 1, :]], dim=-2)


class Complex(Context, name="complex"):
    """c(k)_j = exp(i phi_j), phi_j ~ U[-pi, pi); the inverse is the conjugate (paper A, section 2.2)."""

    binding: ClassVar[str] = "complex product"
    is_complex: ClassVar[bool] = True
    is_mixable: ClassVar[bool] = True
    crosstalk: ClassVar[Crosstalk | None] = "elementwise"

    def shape(self, size: int) -> tuple[int, ...]:
        """One unit phasor for each input."""
        return (2, size)

    def sample(
        self, num_tasks: int, size: int, generator: torch.Generator, device: torch.device | None = None
    ) -> Tensor:
        """Unit phasors, shape (K, 2, I)."""
        return unit_phasors(torch.stack([phases(size, generator) for _ in range(num_tasks)])).to(device)

    def neutral(self, num_tasks: int, size: int, device: torch.device | None = None) -> Tensor:
        """Ones, with imaginary parts of zero, in the memory of two numbers."""
        return torch.tensor([[1.0], [0.0]], device=device).expand(num_tasks, *self.shape(size))

    def bind(self, x: Tensor, context: Tensor) -> Tensor:
        """The complex product c * x, shapes (..., B, 2, I) and (..., 2, I)."""
        return complex_product(x, context.unsqueeze(-3))

    def unbind(self, x: Tensor, context: Tensor) -> Tensor:
        """The complex product conj(c) * x."""
        return self.bind(x, conjugate(context))

    def retrieve(self, weights: Tensor, context: Tensor) -> Tensor:
        """Every input's weights times its phasor, shapes (..., I, 2, O) and (..., 2, I)."""
        return complex_product(weights, context.mT.unsqueeze(-1))

    def store(self, weights: Tensor, context: Tensor) -> Tensor:
        """Every input's weights times its conjugate phasor."""
        return self.retrieve(weights, conjugate(context))

    def bytes_per_task(self, size: int) -> int:
        """One 4-byte phase for each input."""
        return 4 * size

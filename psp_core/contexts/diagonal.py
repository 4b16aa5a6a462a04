"""What diagonal contexts share: one real number for each input, which multiplies it."""

from abc import abstractmethod
from typing import ClassVar

import torch
from torch import Tensor

from psp_core.contexts.base import Context

# K tasks, I inputs


class Diagonal(Context):
    """c(k) in R^I, bound as the elementwise product c * x, which is its own adjoint.

    Orthogonal where all numbers are signs. A subclass says how one task's numbers are drawn.
    """

    binding: ClassVar[str] = "product"
    is_mixable: ClassVar[bool] = True

    @abstractmethod
    def draw(self, size: int, generator: torch.Generator) -> Tensor:
        """One task's numbers, shape (I,), of any type."""

    def shape(self, size: int) -> tuple[int, ...]:
        """One number for each input."""
        return (size,)

    def sample(
        self, num_tasks: int, size: int, generator: torch.Generator, device: torch.device | None = None
    ) -> Tensor:
        """Each task's numbers, one task after another, shape (K, I), float."""
        return torch.stack([self.draw(size, generator) for _ in range(num_tasks)]).to(device, torch.get_default_dtype())

    def neutral(self, num_tasks: int, size: int, device: torch.device | None = None) -> Tensor:
        """Ones, in the memory of a single number."""
        return torch.ones(1, 1, device=device).expand(num_tasks, *self.shape(size))

    def bind(self, x: Tensor, context: Tensor) -> Tensor:
        """The product c * x, shapes (..., B, I) and (..., I)."""
        return x * context.unsqueeze(-2)

    unbind = bind

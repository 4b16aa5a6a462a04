"""What a context is: the thing that turns the shared weights into one task's weights."""

from abc import ABC, abstractmethod
from typing import ClassVar

import torch
from torch import Tensor


class Context(ABC):
    """How K tasks' contexts are drawn, and how one of them is bound to a layer's input.

    A layer with input size I holds the contexts of all its K tasks as one tensor whose first
    dimension is K. It computes y = W (c(k) * x), which equals retrieving task k's weights
    W c(k) first: binding the input is the cheaper side of the same product (paper A, section 2).

    Real contexts see inputs of shape (..., I); complex ones see (..., 2, I), real part first.
    To add a context: a subclass in a file of its own, a line in `psp_core/contexts/__init__.py`,
    and a test class that inherits `tests/contracts.py::ContextContract`.
    """

    name: ClassVar[str]
    is_complex: ClassVar[bool] = False
    is_learnable: ClassVar[bool] = True  # each task has numbers of its own, which could be trained

    @abstractmethod
    def sample(self, num_tasks: int, size: int, generator: torch.Generator) -> Tensor:
        """Draw the contexts of `num_tasks` tasks for a layer with `size` inputs.

        Task k's context depends on the generator's seed and on k, never on `num_tasks`.
        """

    @abstractmethod
    def bind(self, x: Tensor, context: Tensor) -> Tensor:
        """Apply one task's context (an element of what `sample` gave) to a layer's input."""

    @abstractmethod
    def unbind(self, x: Tensor, context: Tensor) -> Tensor:
        """Apply the inverse of one task's context, so that unbinding what was bound gives x again."""

    def bytes_once(self, size: int) -> int:
        """Bytes that all tasks of such a layer share, beside its weights."""
        return 0

    def num_products(self, size: int) -> int:
        """Multiplications of binding one input that matter beside the layer's own: matrix products."""
        return 0

    @abstractmethod
    def bytes_per_task(self, size: int) -> int:
        """Bytes that one more task costs a layer with `size` inputs (paper A, Table 1)."""

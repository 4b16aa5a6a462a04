"""What a context is: the thing that turns the shared weights into one task's weights."""

from abc import abstractmethod
from math import prod
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor

from psp_core.parts import Part

Crosstalk = Literal["elementwise", "spread"]


class Context(Part, family="context"):
    """How K tasks' contexts are drawn, and how one of them is bound to a layer's input.

    A layer with input size I holds the contexts of all its K tasks as one tensor (K, *shape(I)).
    It computes y = W (c(k) * x), which equals retrieving task k's weights W c(k) first: two sides
    of the same product (paper A, section 2). Binding the input is the cheaper one for a batch,
    retrieving the weights for a whole test set.

    Inputs are batches: (..., B, I) for real contexts, (..., B, 2, I) for complex ones, real part
    first. Leading dimensions are members of a pack; the context then has them too.
    To add a context: a subclass in a file of its own, a line in `psp_core/contexts/__init__.py`,
    and a test class that inherits `tests/contracts.py::ContextContract`. `is_learnable` is false of a context whose
    numbers `bind` has no gradient for, such as indices, or that are not each task's own.

    Attributes:
        is_of_units: whether the contexts belong to a network's hidden units: its inputs then have none, and the units
            before heads of each task's own have some.
        binding: the operation that binds, where contexts of other names bind by the same one: they train in one pack,
            each member with its own. Empty where no other context binds so. On a GPU, kernels bind by `product` and
            `complex product`, with one number for each input.
    """

    binding: ClassVar[str] = ""
    is_complex: ClassVar[bool] = False
    is_learnable: ClassVar[bool] = True  # each task has numbers of its own, which could be trained
    is_orthogonal: ClassVar[bool] = True  # unbind inverts bind, and lengths are kept
    is_mixable: ClassVar[bool] = False  # bind is linear in the context, so that sums of contexts can be bound
    is_of_units: ClassVar[bool] = False
    crosstalk: ClassVar[Crosstalk | None] = None
    """The second moment of one other model's crosstalk eps on an input x, if it has one of two simple forms.

    `elementwise`: E eps^2 = `crosstalk_share` sum_i w_i^2 x_i^2, by the product of two contexts, number by number;
    `spread`: E eps^2 = |w|^2 |x|^2 / I, as every input meets every weight alike. E eps = 0 in both.
    Source: Propositions 1 and 2 of paper A (papers.md, A6).
    """
    crosstalk_share: ClassVar[float] = 1.0

    @property
    def is_trivial(self) -> bool:
        """Whether a task's context has no numbers, so that all tasks share the same weights."""
        return prod(self.shape(1)) == 0

    @property
    def of_inputs(self) -> "Context":
        """The contexts of a network's first layer, which binds the network's inputs."""
        return self

    def shared(self) -> dict[str, Any]:
        """The operation; and the context's own settings, unless members may differ in them."""
        return super().shared() | {self.family: self.binding or self.name}

    def neutral(self, num_tasks: int, size: int, device: torch.device | None = None) -> Tensor:
        """Contexts that change nothing, (K, *shape(size)): what members without contexts have beside others in a pack.

        For bindings that `none` or `plain-complex` name too.
        """
        raise NotImplementedError

    def max_tasks(self, size: int) -> int | None:
        """The most tasks whose contexts differ, for a layer with `size` inputs; None without a limit."""
        return None

    @abstractmethod
    def shape(self, size: int) -> tuple[int, ...]:
        """The shape of one task's context for a layer with `size` inputs."""

    @abstractmethod
    def sample(
        self, num_tasks: int, size: int, generator: torch.Generator, device: torch.device | None = None
    ) -> Tensor:
        """Draw the contexts of `num_tasks` tasks for a layer with `size` inputs: (K, *shape(size)).

        Task k's context depends on the generator's seed and on k, never on `num_tasks`. Random
        numbers are drawn on the CPU; what is computed of them, and the result, may be on `device`.

        Raises:
            ValueError: there are fewer different contexts than tasks, see `max_tasks`.
        """

    @abstractmethod
    def bind(self, x: Tensor, context: Tensor) -> Tensor:
        """Apply one task's context (an element of what `sample` gave) to a layer's input."""

    @abstractmethod
    def unbind(self, x: Tensor, context: Tensor) -> Tensor:
        """Apply the adjoint of one task's context, which carries gradients back: <bind x, y> = <x, unbind y>.

        For orthogonal contexts this is also the inverse: unbinding what was bound gives x again.
        """

    def retrieve(self, weights: Tensor, context: Tensor) -> Tensor:
        """One task's weights V, such that x V = bind(x) W: from and to shape (..., I, O).

        Complex contexts take and give (..., I, 2, O).
        """
        return self.unbind(weights.mT, context).mT

    def store(self, weights: Tensor, context: Tensor) -> Tensor:
        """The adjoint of `retrieve`: what one task's weights, or their gradients, are in the shared ones.

        For orthogonal contexts this is also the inverse: what was stored is retrieved again.
        """
        return self.bind(weights.mT, context).mT

    def bytes_once(self, size: int) -> int:
        """Bytes that all tasks of such a layer share, beside its weights."""
        return 0

    def products(self, size: int) -> list[tuple[int, int, int]]:
        """The matrix products that bind one input: rows, inner size and columns of each."""
        return []

    def num_products(self, size: int) -> int:
        """Multiplications of binding one input that matter beside the layer's own: matrix products."""
        return sum(map(prod, self.products(size)))

    def drawing_products(self, num_tasks: int, size: int) -> int:
        """Multiplications of drawing so many contexts, in units of a training step's, beside filling them."""
        return 0

    @abstractmethod
    def bytes_per_task(self, size: int) -> int:
        """Bytes that one more task costs a layer with `size` inputs (paper A, Table 1)."""

    def _check_num_tasks(self, num_tasks: int, size: int, unlimited: str) -> None:
        """Refuse more tasks than have different contexts; `unlimited` is the context to take instead."""
        most = self.max_tasks(size)
        if most is not None and num_tasks > most:
            raise ValueError(
                f"context={self.name!r} has {most} different rows for {size} inputs; {num_tasks} tasks need more: "
                f"use a wider layer, fewer tasks, or context {unlimited!r}, which has no such limit."
            )

"""Signed permutations: the inputs in another order, some with their sign changed."""

from typing import ClassVar

import torch
from torch import Tensor

from psp_core.contexts.base import Crosstalk
from psp_core.contexts.binary import random_signs
from psp_core.contexts.permutation import Permutation

# K tasks, I inputs


class SignedPermutation(Permutation, name="signed-permutation"):
    """(C x)_i = s_i x_p(i) with a random permutation p(k) and random signs s(k); the inverse is the transpose.

    Orthogonal; a bit more than a permutation per input and task. One float for each input holds both:
    s_i (p(i) + 1). The signs give the crosstalk mean 0, and the permutation the second moment of
    rotations, |w|^2 |x|^2 / I for one other model.

    Source: the released code's "binroute" (`BinRouteLinear`), which may train the signs; not in the paper.
    """

    crosstalk: ClassVar[Crosstalk | None] = "spread"

    def sample(
        self, num_tasks: int, size: int, generator: torch.Generator, device: torch.device | None = None
    ) -> Tensor:
        """Signed places, counted from 1, of a permutation: shape (K, I), float."""
        rows = [_signed(torch.randperm(size, generator=generator) + 1, generator) for _ in range(num_tasks)]
        return torch.stack(rows).to(device, torch.get_default_dtype())

    def bind(self, x: Tensor, context: Tensor) -> Tensor:
        """The inputs in the context's order, then times its signs."""
        return super().bind(x, context.abs() - 1) * context.sign().unsqueeze(-2)

    def unbind(self, x: Tensor, context: Tensor) -> Tensor:
        """The inputs times the context's signs, then back where they were."""
        return super().unbind(x * context.sign().unsqueeze(-2), context.abs())

    def bytes_per_task(self, size: int) -> int:
        """One bit for the sign and ceil(log2 I) for the index of each input, rounded up to whole bytes in total."""
        return -(-size * (1 + (size - 1).bit_length()) // 8)


def _signed(places: Tensor, generator: torch.Generator) -> Tensor:
    return places * random_signs(tuple(places.shape), generator)

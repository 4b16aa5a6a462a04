"""Permutation contexts: the inputs in another order."""

from typing import ClassVar

import torch
from torch import Tensor

from psp_core.contexts.base import Context

# E members, K tasks, B batch, I inputs


class Permutation(Context, name="permutation"):
    """(C x)_i = x_p(i) with a random permutation p(k); the inverse is the transpose.

    Orthogonal; ceil(log2 I) bits per input and task. Held as float32 like every context, which is exact
    for indices up to 2^24. A permutation keeps the mean of what it permutes, so the crosstalk of one
    other model has the mean I mean(w) mean(x), not 0 (Proposition 1 of paper A does not hold).

    Source: the released code's "route" (papers.md, A7); not in the paper.
    """

    is_learnable: ClassVar[bool] = False

    def shape(self, size: int) -> tuple[int, ...]:
        """An index for each input."""
        return (size,)

    def sample(
        self, num_tasks: int, size: int, generator: torch.Generator, device: torch.device | None = None
    ) -> Tensor:
        """Permutations of 0..I-1, shape (K, I), float."""
        rows = [torch.randperm(size, generator=generator) for _ in range(num_tasks)]
        return torch.stack(rows).to(device, torch.get_default_dtype())

    def bind(self, x: Tensor, context: Tensor) -> Tensor:
        """The inputs in the context's order, shapes (..., B, I) and (..., I)."""
        return _in_order(x, context.long())

    def unbind(self, x: Tensor, context: Tensor) -> Tensor:
        """The inputs back where they were."""
        return _in_order(x, context.argsort(-1))

    def bytes_per_task(self, size: int) -> int:
        """ceil(log2 I) bits for each input, rounded up to whole bytes in total."""
        return -(-size * (size - 1).bit_length() // 8)


def _in_order(x: Tensor, indices: Tensor) -> Tensor:
    """Element indices[i] of x at place i, shapes (..., B, I) and (..., I)."""
    return x.gather(-1, indices.unsqueeze(-2).expand(x.shape))

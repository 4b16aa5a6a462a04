"""Structured rotations: random orthogonal maps of few numbers, from signs and fast Hadamard transforms."""

from functools import cache
from math import prod
from typing import ClassVar, NamedTuple

import torch
from torch import Tensor

from psp_core.contexts.base import Context, Crosstalk
from psp_core.contexts.binary import random_signs
from psp_core.contexts.hadamard import hadamard_entries
from psp_core.randomness import generator as named_generator

# E members, K tasks, B batch, I inputs, T transforms


class StructuredRotation(Context, name="structured-rotation"):
    """C(k) = D_T H P_T D_(T-1) ... H P_1 D_0: T Hadamard transforms between T + 1 vectors of random signs.

    D_t are the task's own signs, as diagonal matrices. H is the same for all tasks: sizes that are no
    power of two are cut into blocks by their binary expansion (784 = 512 + 256 + 16), and H has a
    normalised Sylvester-Hadamard matrix for each block. The permutations P_t carry inputs from one block
    to another; they are constants of this code, drawn once for each size, and absent where there is
    one block. No H stands outermost: it would cancel in C(s)^T C(k). With T = 0 this is `binary`.

    The crosstalk of one other model has mean 0, and where the size is a power of two the second moment of
    Haar rotations, |w|^2 |x|^2 / I for any w and x; binary contexts have sum w_i^2 x_i^2, which is larger
    where few products dominate. With several blocks the second moment is sum_b |w_b|^2 |x_b|^2 / I_b, with
    w_b and x_b the parts that reach block b of the last transform. T = 1 leaves what lies in a small block
    there (up to I / I_b times Haar's, for vectors within one small block); from T = 2 on every part has
    been spread over its first block and permuted, and the sum is close to Haar's: for a single one of 784
    inputs, where the difference is largest, 0.4% above it on average and 11% at most.

    Orthogonal; ceil((T + 1) I / 8) bytes per task, nothing shared. Binding an input takes O(I log I)
    multiplications: each block is a Kronecker product of small Hadamard matrices, and each of these is
    one matrix product. Trained signs are numbers as any, and C is orthogonal no longer.

    Attributes:
        num_transforms: T, at least 1: without any, the context would be `binary`.

    Source: ours, for paper A's rotations; the same construction serves as a fast random rotation in
    random features (Le, Sarlos and Smola 2013, "Fastfood"; Yu et al. 2016, "Orthogonal random features").
    """

    # With one transform and a power of two, E (D H D' H D'')_ij^2 = sum_l H_il^2 H_lj^2 = 1/I; else it is close.
    crosstalk: ClassVar[Crosstalk | None] = "spread"
    num_transforms: ClassVar[int] = 2

    def shape(self, size: int) -> tuple[int, ...]:
        """T + 1 signs for each input."""
        return (self.num_transforms + 1, size)

    def sample(
        self, num_tasks: int, size: int, generator: torch.Generator, device: torch.device | None = None
    ) -> Tensor:
        """Random signs, shape (K, T + 1, I), float."""
        rows = [random_signs(self.shape(size), generator) for _ in range(num_tasks)]
        signs = torch.stack(rows).to(device, torch.get_default_dtype())
        _constants(
            size, self.num_transforms, signs.device, signs.dtype
        )  # now, rather than within torch.func or a CUDA graph
        return signs

    def bind(self, x: Tensor, context: Tensor) -> Tensor:
        """C x for each row of x, shapes (..., B, I) and (..., T + 1, I).

        The inputs lie in the last dimension but one meanwhile: what is permuted then are rows.
        """
        constants = _constants(x.shape[-1], self.num_transforms, x.device, context.dtype)
        first, *others = (context * constants.scales).unsqueeze(-1).unbind(-3)
        x = x.mT * first
        for signs, permutation in zip(others, constants.permutations, strict=True):
            if permutation is not None:
                x = x.index_select(-2, permutation)
            x = _transform(x, constants.blocks) * signs
        return x.mT

    def unbind(self, x: Tensor, context: Tensor) -> Tensor:
        """C^T x for each row of x: the same factors, each of them transposed, from the last to the first."""
        constants = _constants(x.shape[-1], self.num_transforms, x.device, context.dtype)
        first, *others = (context * constants.scales).unsqueeze(-1).unbind(-3)
        x = x.mT
        for signs, inverse in zip(reversed(others), reversed(constants.inverses), strict=True):
            x = _transform(x * signs, constants.blocks)
            if inverse is not None:
                x = x.index_select(-2, inverse)
        return (x * first).mT

    def bytes_per_task(self, size: int) -> int:
        """T + 1 bits for each input, rounded up to whole bytes."""
        return -(-(self.num_transforms + 1) * size // 8)

    def products(self, size: int) -> list[tuple[int, int, int]]:
        """Each factor of each block, in each transform."""
        factors = [(block // factor, factor) for block in blocks(size) for factor in kronecker_factors(block)]
        return [(rows, factor, factor) for rows, factor in factors] * self.num_transforms


def blocks(size: int) -> list[int]:
    """The powers of two that add up to `size`, the largest first."""
    return [1 << bit for bit in reversed(range(size.bit_length())) if size >> bit & 1]


def kronecker_factors(block: int) -> list[int]:
    """Powers of two, nearly equal, with the product `block`: as few as there are with none above 16, or 32 itself.

    Of all ways to cut blocks of 64 to 512 these were the fastest on a CPU.
    """
    bits = block.bit_length() - 1
    num_factors = 1 if bits == 5 else -(-bits // 4)
    return [1 << (bits + i) // num_factors for i in range(num_factors)]


def block_permutation(size: int, index: int) -> Tensor:
    """P_t: what the t-th transform of a layer of `size` inputs finds at each place, for every task and trial alike."""
    return torch.randperm(size, generator=named_generator(0, "structured rotation", size, index))


class OneTransform(StructuredRotation, name="structured-rotation-1"):
    """As `structured-rotation` with T = 1: the cheapest; for sizes that are no power of two the least like Haar's."""

    num_transforms: ClassVar[int] = 1


class _Constants(NamedTuple):
    """What all contexts of a size share.

    The factors of a block have entries +-1, which are exact in any precision; `scales`, (T + 1, I), takes the
    signs after each transform times what normalises it.
    """

    blocks: list[list[Tensor]]
    scales: Tensor
    permutations: list[Tensor | None]
    inverses: list[Tensor | None]


@cache
def _constants(size: int, num_transforms: int, device: torch.device, dtype: torch.dtype) -> _Constants:
    sizes = blocks(size)
    factors = [[_hadamard(factor).to(device, dtype) for factor in kronecker_factors(block)] for block in sizes]
    scales = torch.cat([torch.full((num_transforms + 1, block), block**-0.5) for block in sizes], dim=1)
    scales[0] = 1
    permutations: list[Tensor | None] = [None] * num_transforms
    inverses = permutations
    if len(sizes) > 1:
        drawn = [block_permutation(size, index) for index in range(1, num_transforms + 1)]
        permutations = [permutation.to(device) for permutation in drawn]
        inverses = [permutation.argsort().to(device) for permutation in drawn]
    return _Constants(factors, scales.to(device, dtype), permutations, inverses)


def _hadamard(size: int) -> Tensor:
    index = torch.arange(size)
    return hadamard_entries(index[:, None], index)


def _transform(x: Tensor, blocks_of_factors: list[list[Tensor]]) -> Tensor:
    """H without its normalisation, of inputs in the last dimension but one: shape (..., I, B) to the same."""
    sizes = [prod(map(len, factors)) for factors in blocks_of_factors]
    parts = torch.split(x, sizes, dim=-2)
    transformed = [_kronecker_product(factors, part) for factors, part in zip(blocks_of_factors, parts, strict=True)]
    return torch.cat(transformed, dim=-2) if len(transformed) > 1 else transformed[0]


def _kronecker_product(factors: list[Tensor], x: Tensor) -> Tensor:
    """(F_1 x F_2 x ...) x, with x the Kronecker product, shape (..., n_1 n_2 ..., B) to the same.

    The last factor comes first: what it multiplies may lie transposed in memory, and need not be copied.
    """
    shape, before = x.shape, x.shape[-2]
    for factor in reversed(factors):
        before //= len(factor)
        x = factor @ x.reshape(*shape[:-2], before, len(factor), -1)
    return x.reshape(shape)

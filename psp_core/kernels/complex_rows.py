"""Complex weights times a phasor for each input: a first layer's are retrieved so, and their gradient is stored."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import torch
from torch import Tensor

from psp_core.contexts.complex import complex_product, conjugate
from psp_core.kernels.choice import Kernel, blocks, has_kernels, power_of_two

if TYPE_CHECKING:
    import triton.language as tl

# E members, I inputs, O outputs; 2 = real and imaginary part

ROWS, COLUMNS = 16, 128
"""A program's tile, of each part: 16 numbers for each of 128 threads."""

PLUS: Final = 1
MINUS: Final = -1
"""The sign of the phasors' imaginary parts."""


def retrieved(weights_EI2O: Tensor, phasors_E2I: Tensor) -> Tensor:
    """W[i, o] * c[i], in new memory."""
    if has_kernels(weights_EI2O.device):
        return launch(weights_EI2O, phasors_E2I, torch.empty_like(weights_EI2O).contiguous(), PLUS)
    return complex_product(weights_EI2O, phasors_E2I.mT.unsqueeze(-1))


def store(gradient_EI2O: Tensor, phasors_E2I: Tensor, into_EI2O: Tensor) -> None:
    """Write W[i, o] * conj(c[i]) into `into`, which may be the same tensor."""
    if has_kernels(into_EI2O.device):
        launch(gradient_EI2O, phasors_E2I, into_EI2O, MINUS)
    else:
        into_EI2O.copy_(complex_product(gradient_EI2O, conjugate(phasors_E2I).mT.unsqueeze(-1)))


def launch(weights_EI2O: Tensor, phasors_E2I: Tensor, into_EI2O: Tensor, sign: int) -> Tensor:
    """Either in one pass."""
    num_members, num_inputs, _, num_outputs = weights_EI2O.shape
    columns = power_of_two(num_outputs, least=16, most=COLUMNS)
    grid = (num_members * blocks(num_inputs, ROWS), blocks(num_outputs, columns))
    _multiply_rows.launch(
        grid, weights_EI2O, phasors_E2I, into_EI2O, num_inputs, num_outputs, weights_EI2O.stride(0),
        phasors_E2I.stride(0), into_EI2O.stride(0), SIGN=sign, ROWS=ROWS, COLUMNS=columns,
    )  # fmt: skip
    return into_EI2O


@Kernel
def _multiply_rows(
    weights: tl.tensor, phasors: tl.tensor, into: tl.tensor, num_rows: int, num_columns: int, weights_stride: int,
    phasors_stride: int, into_stride: int, SIGN: tl.constexpr, ROWS: tl.constexpr, COLUMNS: tl.constexpr,
) -> None:  # fmt: skip
    row_blocks = tl.cdiv(num_rows, ROWS)
    member = (tl.program_id(0) // row_blocks).to(tl.int64)
    row = tl.program_id(0) % row_blocks * ROWS + tl.arange(0, ROWS)
    column = tl.program_id(1) * COLUMNS + tl.arange(0, COLUMNS)
    is_row = row < num_rows
    inside = is_row[:, None] & (column < num_columns)[None, :]
    places = 2 * row[:, None] * num_columns + column[None, :]
    wide = tl.float64 if weights.dtype.element_ty == tl.float64 else tl.float32
    cos = tl.load(phasors + member * phasors_stride + row, mask=is_row, other=0.0)[:, None]
    sin = tl.load(phasors + member * phasors_stride + num_rows + row, mask=is_row, other=0.0)[:, None] * SIGN
    real = tl.load(weights + member * weights_stride + places, mask=inside, other=0.0).to(wide)
    imaginary = tl.load(weights + member * weights_stride + num_columns + places, mask=inside, other=0.0).to(wide)
    tl.store(into + member * into_stride + places, real * cos - imaginary * sin, mask=inside)
    tl.store(into + member * into_stride + num_columns + places, real * sin + imaginary * cos, mask=inside)

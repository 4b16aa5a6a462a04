"""From a layer's product to the next layer's input: bias, relu, and the next layer's context where that is a factor."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor

from psp_core.kernels.choice import Kernel, blocks, has_kernels, power_of_two

if TYPE_CHECKING:
    import triton.language as tl

# E members, B batch, O outputs of the layer, which are the next one's inputs

COLUMNS, ROWS = 64, 32
"""A program's tile: rows of 256 bytes in float32, 16 numbers for each of 128 threads."""


def relu_bind(y_EBO: Tensor, bias_EO: Tensor, factors_EO: Tensor | None) -> tuple[Tensor, Tensor]:
    """A layer's product to the next one's inputs, z = relu(y + b) * c, in the place of y.

    Args:
        y_EBO: the product, contiguous; it may be overwritten.
        bias_EO: b.
        factors_EO: c; None for ones.

    Returns:
        z, and what `unbind_relu` needs of it: a tensor that is 0 where relu gave 0. NaN is passed on.
    """
    if has_kernels(y_EBO.device):
        return (launch(y_EBO, bias_EO, factors_EO),) * 2
    return reference(y_EBO, bias_EO, factors_EO)


def reference(y_EBO: Tensor, bias_EO: Tensor, factors_EO: Tensor | None) -> tuple[Tensor, Tensor]:
    """The same by PyTorch's operations: z and the output of relu."""
    h_EBO = y_EBO.add_(bias_EO[:, None]).relu_()
    return h_EBO if factors_EO is None else h_EBO * factors_EO[:, None], h_EBO


def launch(y_EBO: Tensor, bias_EO: Tensor, factors_EO: Tensor | None) -> Tensor:
    """The same in one pass; z says where relu gave 0 (and where c is 0, no gradient passes anyway)."""
    num_members, num_rows, num_columns = y_EBO.shape
    columns = power_of_two(num_columns, least=16, most=COLUMNS)
    grid = (num_members * blocks(num_rows, ROWS), blocks(num_columns, columns))
    _relu_bind.launch(
        grid, y_EBO, bias_EO, factors_EO, num_rows, num_columns,
        bias_EO.stride(0), 0 if factors_EO is None else factors_EO.stride(0), ROWS=ROWS, COLUMNS=columns,
    )  # fmt: skip
    return y_EBO


@Kernel
def _relu_bind(
    y: tl.tensor, bias: tl.tensor, factors: tl.tensor | None, num_rows: int, num_columns: int,
    bias_stride: int, factors_stride: int, ROWS: tl.constexpr, COLUMNS: tl.constexpr,
) -> None:  # fmt: skip
    row_blocks = tl.cdiv(num_rows, ROWS)
    member = (tl.program_id(0) // row_blocks).to(tl.int64)
    row = tl.program_id(0) % row_blocks * ROWS + tl.arange(0, ROWS)
    column = tl.program_id(1) * COLUMNS + tl.arange(0, COLUMNS)
    in_row = column < num_columns
    inside = (row < num_rows)[:, None] & in_row[None, :]
    places = y + member * num_rows * num_columns + row[:, None] * num_columns + column[None, :]
    wide = tl.float64 if y.dtype.element_ty == tl.float64 else tl.float32
    h = tl.load(places, mask=inside, other=0.0).to(wide)
    h += tl.load(bias + member * bias_stride + column, mask=in_row, other=0.0)[None, :]
    h = tl.where(h <= 0, 0.0, h)  # NaN is not below 0
    if factors is not None:
        h *= tl.load(factors + member * factors_stride + column, mask=in_row, other=0.0)[None, :]
    tl.store(places, h, mask=inside)


def unbind_relu(g_EBO: Tensor, kept_EBO: Tensor, factors_EO: Tensor | None, bias_gradient_EO: Tensor) -> Tensor:
    """Back through `relu_bind`: g * c where relu gave more than 0, else 0, in the place of g.

    Args:
        g_EBO: the gradient of z; it may be overwritten.
        kept_EBO: what `relu_bind` returned for this.
        factors_EO: c; None for ones.
        bias_gradient_EO: where the bias's gradient is written, the sum of the result over the batch.

    Returns:
        The gradient of y.
    """
    if has_kernels(g_EBO.device):
        return launch_backward(g_EBO, kept_EBO, factors_EO, bias_gradient_EO)
    return reference_backward(g_EBO, kept_EBO, factors_EO, bias_gradient_EO)


def reference_backward(g_EBO: Tensor, kept_EBO: Tensor, factors_EO: Tensor | None, bias_gradient_EO: Tensor) -> Tensor:
    """The same by PyTorch's operations, given the output of relu."""
    if factors_EO is not None:
        g_EBO = g_EBO * factors_EO[:, None]
    g_EBO = torch.ops.aten.threshold_backward(g_EBO, kept_EBO, 0)
    torch.sum(g_EBO, 1, out=bias_gradient_EO)
    return g_EBO


def launch_backward(g_EBO: Tensor, kept_EBO: Tensor, factors_EO: Tensor | None, bias_gradient_EO: Tensor) -> Tensor:
    """The same in one pass. A program has all rows of its columns and adds them in one order, so sums repeat."""
    g_EBO = g_EBO.contiguous()
    num_members, num_rows, num_columns = g_EBO.shape
    columns = power_of_two(num_columns, least=16, most=COLUMNS // 2)  # programs are fewer than forwards
    _unbind_relu.launch(
        (num_members, blocks(num_columns, columns)), g_EBO, kept_EBO, factors_EO, bias_gradient_EO,
        num_rows, num_columns, bias_gradient_EO.stride(0), 0 if factors_EO is None else factors_EO.stride(0),
        ROWS=2 * ROWS, COLUMNS=columns,
    )  # fmt: skip
    return g_EBO


@Kernel
def _unbind_relu(
    g: tl.tensor, kept: tl.tensor, factors: tl.tensor | None, bias_gradient: tl.tensor, num_rows: int, num_columns: int,
    bias_stride: int, factors_stride: int, ROWS: tl.constexpr, COLUMNS: tl.constexpr,
) -> None:  # fmt: skip
    member = tl.program_id(0).to(tl.int64)
    column = tl.program_id(1) * COLUMNS + tl.arange(0, COLUMNS)
    in_row = column < num_columns
    wide = tl.float64 if g.dtype.element_ty == tl.float64 else tl.float32
    total = tl.zeros([ROWS, COLUMNS], dtype=wide)
    for first in range(0, num_rows, ROWS):
        row = first + tl.arange(0, ROWS)
        inside = (row < num_rows)[:, None] & in_row[None, :]
        places = member * num_rows * num_columns + row[:, None] * num_columns + column[None, :]
        passed = tl.load(kept + places, mask=inside, other=0.0) != 0
        value = tl.load(g + places, mask=inside, other=0.0).to(wide)
        if factors is not None:
            value *= tl.load(factors + member * factors_stride + column, mask=in_row, other=0.0)[None, :]
        value = tl.where(passed, value, 0.0)
        tl.store(g + places, value, mask=inside)
        total += value
    tl.store(bias_gradient + member * bias_stride + column, tl.sum(total, 0), mask=in_row)

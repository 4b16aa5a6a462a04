"""`relu_bind` of complex layers: four real products are put together, then bias, relu, and the next layer's phasors."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor

from psp_core.contexts.complex import complex_product, conjugate
from psp_core.kernels.choice import Kernel, blocks, has_kernels, power_of_two

if TYPE_CHECKING:
    import triton.language as tl

# E members, B batch, O outputs of the layer, which are the next one's inputs; 2 = real and imaginary part;
# Z parts of the layer's input: 2, or 1 of a real input

COLUMNS, ROWS = 64, 16
"""A program's tile, of each part: rows of 256 bytes in float32, 8 numbers for each of 128 threads."""


def relu_bind(y_EBZ2O: Tensor, bias_EO: Tensor, phasors_E2O: Tensor | None) -> tuple[Tensor, Tensor]:
    """A layer's products to the next one's inputs, z = relu(y + b) * c.

    Of the products y_ZW of a part of the input and a part of the weight, y = (y_00 - y_11) + i (y_01 + y_10). The bias
    is real, and relu acts on real and imaginary parts alike.

    Args:
        y_EBZ2O: the products, contiguous; of a real input, with Z = 1, they are y itself. They may be overwritten.
        bias_EO: b.
        phasors_E2O: c; None for ones.

    Returns:
        z, (E, B, 2, O), and what `unbind_relu` needs beside it. NaN is passed on.
    """
    if has_kernels(y_EBZ2O.device):
        return launch(y_EBZ2O, bias_EO, phasors_E2O)
    return reference(y_EBZ2O, bias_EO, phasors_E2O)


def reference(y_EBZ2O: Tensor, bias_EO: Tensor, phasors_E2O: Tensor | None) -> tuple[Tensor, Tensor]:
    """The same by PyTorch's operations: z and the output of relu."""
    if y_EBZ2O.shape[2] == 1:
        h = y_EBZ2O[:, :, 0]
        h[:, :, 0].add_(bias_EO[:, None])
    else:
        h = torch.empty_like(y_EBZ2O[:, :, 0])
        torch.sub(y_EBZ2O[:, :, 0, 0], y_EBZ2O[:, :, 1, 1], out=h[:, :, 0]).add_(bias_EO[:, None])
        torch.add(y_EBZ2O[:, :, 0, 1], y_EBZ2O[:, :, 1, 0], out=h[:, :, 1])
    h.relu_()
    return h if phasors_E2O is None else complex_product(h, phasors_E2O.unsqueeze(-3)), h


def launch(y_EBZ2O: Tensor, bias_EO: Tensor, phasors_E2O: Tensor | None) -> tuple[Tensor, Tensor]:
    """The same in one pass: z and, as z does not tell, uint8 (E, B, O): 1 where the real part passed, + 2 the other."""
    num_members, num_rows, parts, _, num_columns = y_EBZ2O.shape
    z_EB2O = y_EBZ2O.new_empty(num_members, num_rows, 2, num_columns)
    passed_EBO = torch.empty(num_members, num_rows, num_columns, dtype=torch.uint8, device=y_EBZ2O.device)
    columns = power_of_two(num_columns, least=16, most=COLUMNS)
    grid = (num_members * blocks(num_rows, ROWS), blocks(num_columns, columns))
    _relu_bind.launch(
        grid, y_EBZ2O, bias_EO, phasors_E2O, z_EB2O, passed_EBO, num_rows, num_columns, bias_EO.stride(0),
        0 if phasors_E2O is None else phasors_E2O.stride(0), PARTS=parts, ROWS=ROWS, COLUMNS=columns,
    )  # fmt: skip
    return z_EB2O, passed_EBO


@Kernel
def _relu_bind(
    y: tl.tensor, bias: tl.tensor, phasors: tl.tensor | None, z: tl.tensor, passed: tl.tensor,
    num_rows: int, num_columns: int, bias_stride: int, phasors_stride: int,
    PARTS: tl.constexpr, ROWS: tl.constexpr, COLUMNS: tl.constexpr,
) -> None:  # fmt: skip
    row_blocks = tl.cdiv(num_rows, ROWS)
    member = (tl.program_id(0) // row_blocks).to(tl.int64)
    row = tl.program_id(0) % row_blocks * ROWS + tl.arange(0, ROWS)
    column = tl.program_id(1) * COLUMNS + tl.arange(0, COLUMNS)
    in_row = column < num_columns
    inside = (row < num_rows)[:, None] & in_row[None, :]
    wide = tl.float64 if y.dtype.element_ty == tl.float64 else tl.float32
    start = (member * num_rows + row)[:, None] * num_columns  # of a sample's row in a tensor with one part
    places = y + 2 * PARTS * start + column[None, :]
    real = tl.load(places, mask=inside, other=0.0).to(wide)
    imaginary = tl.load(places + num_columns, mask=inside, other=0.0).to(wide)
    if PARTS == 2:
        real -= tl.load(places + 3 * num_columns, mask=inside, other=0.0).to(wide)
        imaginary += tl.load(places + 2 * num_columns, mask=inside, other=0.0).to(wide)
    real += tl.load(bias + member * bias_stride + column, mask=in_row, other=0.0)[None, :]
    is_real, is_imaginary = (real <= 0) == 0, (imaginary <= 0) == 0  # of NaN too
    real, imaginary = tl.where(is_real, real, 0.0), tl.where(is_imaginary, imaginary, 0.0)
    tl.store(passed + start + column[None, :], is_real.to(tl.uint8) + 2 * is_imaginary.to(tl.uint8), mask=inside)
    if phasors is not None:
        c = phasors + member * phasors_stride + column
        cos = tl.load(c, mask=in_row, other=0.0)[None, :]
        sin = tl.load(c + num_columns, mask=in_row, other=0.0)[None, :]
        real, imaginary = real * cos - imaginary * sin, real * sin + imaginary * cos
    tl.store(z + 2 * start + column[None, :], real, mask=inside)
    tl.store(z + 2 * start + num_columns + column[None, :], imaginary, mask=inside)


def unbind_relu(
    g_EB2O: Tensor, kept: Tensor, phasors_E2O: Tensor | None, bias_gradient_EO: Tensor, *, is_real_input: bool
) -> Tensor:
    """Back through `relu_bind`, as rows that the layer's products are multiplied by.

    The gradient of y is g * conj(c), of each part where relu let it pass.

    Args:
        g_EB2O: the gradient of z, contiguous; it may be overwritten.
        kept: what `relu_bind` returned for this.
        phasors_E2O: c; None for ones.
        bias_gradient_EO: where the bias's gradient is written, the sum of the real part over the batch.
        is_real_input: whether the layer's input is real.

    Returns:
        The gradient of y, (E, B, 2 O); of a layer with a complex input (E, 2 B, 2 O), where below it stands i times its
        conjugate, by which the input's imaginary part is multiplied.
    """
    if has_kernels(g_EB2O.device):
        return launch_backward(g_EB2O, kept, phasors_E2O, bias_gradient_EO, is_real_input)
    return reference_backward(g_EB2O, kept, phasors_E2O, bias_gradient_EO, is_real_input)


def reference_backward(
    g_EB2O: Tensor, kept_EB2O: Tensor, phasors_E2O: Tensor | None, bias_gradient_EO: Tensor, is_real_input: bool
) -> Tensor:
    """The same by PyTorch's operations, given the output of relu."""
    if phasors_E2O is not None:
        g_EB2O = complex_product(g_EB2O, conjugate(phasors_E2O).unsqueeze(-3))
    g_EB2O = torch.ops.aten.threshold_backward(g_EB2O, kept_EB2O, 0)
    torch.sum(g_EB2O[:, :, 0], 1, out=bias_gradient_EO)
    if is_real_input:
        return g_EB2O.flatten(2)
    rows = g_EB2O.new_empty(*g_EB2O.shape[:2], 2, *g_EB2O.shape[2:])
    rows[:, :, 0] = g_EB2O
    rows[:, :, 1, 0] = g_EB2O[:, :, 1]
    torch.neg(g_EB2O[:, :, 0], out=rows[:, :, 1, 1])
    return rows.view(len(rows), -1, 2 * rows.shape[-1])


def launch_backward(
    g_EB2O: Tensor, passed_EBO: Tensor, phasors_E2O: Tensor | None, bias_gradient_EO: Tensor, is_real_input: bool
) -> Tensor:
    """The same in one pass. A program has all rows of its columns and adds them in one order, so sums repeat."""
    g_EB2O = g_EB2O.contiguous()
    num_members, num_rows, _, num_columns = g_EB2O.shape
    parts = 1 if is_real_input else 2
    rows = g_EB2O if is_real_input else g_EB2O.new_empty(num_members, num_rows, 2, 2, num_columns)
    columns = power_of_two(num_columns, least=16, most=COLUMNS // 2)
    _unbind_relu.launch(
        (num_members, blocks(num_columns, columns)), g_EB2O, passed_EBO, phasors_E2O, bias_gradient_EO, rows,
        num_rows, num_columns, bias_gradient_EO.stride(0), 0 if phasors_E2O is None else phasors_E2O.stride(0),
        PARTS=parts, ROWS=2 * ROWS, COLUMNS=columns,
    )  # fmt: skip
    return rows.view(num_members, -1, 2 * num_columns)


@Kernel
def _unbind_relu(
    g: tl.tensor, passed: tl.tensor, phasors: tl.tensor | None, bias_gradient: tl.tensor, rows: tl.tensor,
    num_rows: int, num_columns: int, bias_stride: int, phasors_stride: int,
    PARTS: tl.constexpr, ROWS: tl.constexpr, COLUMNS: tl.constexpr,
) -> None:  # fmt: skip
    member = tl.program_id(0).to(tl.int64)
    column = tl.program_id(1) * COLUMNS + tl.arange(0, COLUMNS)
    in_row = column < num_columns
    wide = tl.float64 if g.dtype.element_ty == tl.float64 else tl.float32
    total = tl.zeros([ROWS, COLUMNS], dtype=wide)
    for first in range(0, num_rows, ROWS):
        row = first + tl.arange(0, ROWS)
        inside = (row < num_rows)[:, None] & in_row[None, :]
        start = (member * num_rows + row)[:, None] * num_columns
        bits = tl.load(passed + start + column[None, :], mask=inside, other=0)
        real = tl.load(g + 2 * start + column[None, :], mask=inside, other=0.0).to(wide)
        imaginary = tl.load(g + 2 * start + num_columns + column[None, :], mask=inside, other=0.0).to(wide)
        if phasors is not None:
            c = phasors + member * phasors_stride + column
            cos = tl.load(c, mask=in_row, other=0.0)[None, :]
            sin = tl.load(c + num_columns, mask=in_row, other=0.0)[None, :]
            real, imaginary = real * cos + imaginary * sin, imaginary * cos - real * sin
        real = tl.where((bits & 1) != 0, real, 0.0)
        imaginary = tl.where((bits & 2) != 0, imaginary, 0.0)
        total += real
        places = rows + 2 * PARTS * start + column[None, :]
        tl.store(places, real, mask=inside)
        tl.store(places + num_columns, imaginary, mask=inside)
        if PARTS == 2:
            tl.store(places + 2 * num_columns, imaginary, mask=inside)
            tl.store(places + 3 * num_columns, -real, mask=inside)
    tl.store(bias_gradient + member * bias_stride + column, tl.sum(total, 0), mask=in_row)

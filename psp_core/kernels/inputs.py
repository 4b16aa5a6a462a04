"""From a data set's images to the inputs of a pack's first layer: gathered, permuted, normalised and bound."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import torch
from torch import Tensor

from psp_core.kernels.choice import Kernel, blocks

if TYPE_CHECKING:
    import triton.language as tl

# E members, B batch, N images, I numbers of an image

ROWS: Final = 8
COLUMNS: Final = 256
"""A program's tile: 16 numbers for each of 128 threads."""

PROGRAMS: Final = 256
"""With fewer, a GPU has idle processors: each program then has a part of its images. Otherwise it goes through them
from end to end, so that they lie in the first cache while their bytes are taken in another order."""


def reference(
    images_NI: Tensor,
    samples_EB: Tensor,
    pixels_EI: Tensor,
    constants_2: Tensor,
    factors_EI: Tensor | None,
    dtype: torch.dtype,
) -> Tensor:
    """x[e, b, i] = (image[pixel[e, i]] * constant - other) * c[e, i], of the image of sample (e, b), as `dtype`.

    Args:
        images_NI: uint8.
        samples_EB: the images' numbers, int64.
        pixels_EI: which number of the image each is, int64; -1 for 0.
        constants_2: what numbers are multiplied by, and what is taken from them then.
        factors_EI: c, the first layer's contexts; None for ones.
        dtype: of the result.
    """
    images_EBI = images_NI[samples_EB]
    images_EBI = images_EBI.gather(2, pixels_EI.clamp(min=0)[:, None].expand_as(images_EBI))
    images_EBI = images_EBI.masked_fill(pixels_EI[:, None] < 0, 0)
    x_EBI = images_EBI * constants_2[0] - constants_2[1]
    return (x_EBI if factors_EI is None else x_EBI * factors_EI[:, None]).to(dtype)


def launch(
    images_NI: Tensor,
    samples_EB: Tensor,
    pixels_EI: Tensor,
    constants_2: Tensor,
    factors_EI: Tensor | None,
    dtype: torch.dtype,
) -> Tensor:
    """The same in one pass."""
    (num_members, num_rows), num_columns = samples_EB.shape, images_NI.shape[1]
    x_EBI = torch.empty(num_members, num_rows, num_columns, dtype=dtype, device=images_NI.device)
    row_blocks = num_members * blocks(num_rows, ROWS)
    parts = 1 if row_blocks >= PROGRAMS else blocks(num_columns, COLUMNS)
    _inputs.launch(
        (row_blocks, parts), images_NI, samples_EB, pixels_EI, constants_2, factors_EI, x_EBI,
        num_rows, num_columns, pixels_EI.stride(0),
        0 if factors_EI is None else factors_EI.stride(0), ROWS=ROWS, COLUMNS=COLUMNS,
    )  # fmt: skip
    return x_EBI


@Kernel
def _inputs(
    images: tl.tensor, samples: tl.tensor, pixels: tl.tensor, constants: tl.tensor, factors: tl.tensor | None,
    x: tl.tensor, num_rows: int, num_columns: int, pixels_stride: int, factors_stride: int,
    ROWS: tl.constexpr, COLUMNS: tl.constexpr,
) -> None:  # fmt: skip
    row_blocks = tl.cdiv(num_rows, ROWS)
    member = (tl.program_id(0) // row_blocks).to(tl.int64)
    row = tl.program_id(0) % row_blocks * ROWS + tl.arange(0, ROWS)
    is_row = row < num_rows
    sample = tl.load(samples + member * num_rows + row, mask=is_row, other=0)
    times, minus = tl.load(constants), tl.load(constants + 1)
    for first in range(tl.program_id(1) * COLUMNS, num_columns, tl.num_programs(1) * COLUMNS):
        column = first + tl.arange(0, COLUMNS)
        in_row = column < num_columns
        inside = is_row[:, None] & in_row[None, :]
        pixel = tl.load(pixels + member * pixels_stride + column, mask=in_row, other=0).to(tl.int32)
        known = inside & (pixel >= 0)[None, :]
        number = tl.load(images + sample[:, None] * num_columns + pixel[None, :], mask=known, other=0)
        value = number.to(times.dtype) * times - minus
        if factors is not None:
            value *= tl.load(factors + member * factors_stride + column, mask=in_row, other=0.0)[None, :]
        tl.store(x + (member * num_rows + row)[:, None] * num_columns + column[None, :], value, mask=inside)

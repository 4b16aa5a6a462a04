"""Masks as bits, and their sizes in bytes."""

from math import prod

import torch
from torch import Tensor

# N weights of a mask, C = ceil(N / 8) bytes of it

MAX_CSC_ROWS = 2**16


def packed(mask: Tensor) -> Tensor:
    """A flat mask's bits, eight to a byte: (..., N) to uint8 (..., C); zeros pad N to a multiple of 8.

    Weight j is bit j // C of byte j % C. So neighbouring weights are the same bit of neighbouring bytes, and one
    vectorised AND over a run of bytes unpacks a run of weights.

    Args:
        mask: zeros and ones of any type; a layer's mask is flattened first.
    """
    num_bytes = bit_bytes(mask.shape[-1])
    planes = torch.nn.functional.pad(mask != 0, (0, 8 * num_bytes - mask.shape[-1]))
    planes = planes.reshape(*mask.shape[:-1], 8, num_bytes).to(torch.uint8)
    bits = torch.zeros_like(planes[..., 0, :])
    for place in range(8):
        bits |= planes[..., place, :] << place
    return bits


def unpacked(bits: Tensor, shape: tuple[int, ...]) -> Tensor:
    """The inverse of `packed`, as float zeros and ones: uint8 (..., C) to (..., *shape), where `shape` has N weights.

    Raises:
        ValueError: C is not the number of bytes of N bits.
    """
    num_weights = prod(shape)
    if bits.shape[-1] != bit_bytes(num_weights):
        raise ValueError(
            f"shape={tuple(shape)} has {num_weights} weights, whose bits are {bit_bytes(num_weights)} bytes; "
            f"bits has {bits.shape[-1]}: give the shape of the mask that was packed."
        )
    places_81 = (1 << torch.arange(8, device=bits.device)).to(torch.uint8)[:, None]
    planes = (bits[..., None, :] & places_81) != 0
    return planes.flatten(-2)[..., :num_weights].to(torch.get_default_dtype()).reshape(*bits.shape[:-1], *shape)


def bit_bytes(num_weights: int) -> int:
    """Bytes of a mask's bits: ceil(N / 8)."""
    return -(-num_weights // 8)


def csc_bytes(mask: Tensor) -> int:
    """Bytes of a layer's mask (I, O) as compressed sparse columns of 16-bit integers: 2 (nonzeros + O + 1).

    In terms of scipy.sparse.csc_matrix, we count `indices` (a 16-bit row number per one) and `indptr` (a 16-bit
    offset per column, plus one), and leave out `data`, which is all ones. With a byte per one for `data` the count
    would exceed the paper's: from sparsity 8 to 16 its ResNet-50 gains 8 * 49,091 ones in the convolutions of each of
    100 tasks, and 94.2 MB, so 2.4 bytes per one. Offsets beyond 65,535 do not fit 16 bits; the count overlooks that.
    Below a density of 1/16 this is less than the bits.

    Raises:
        ValueError: the mask has more inputs than 16 bits can number.

    Source: papers.md, B3 and B1.
    """
    return csc_size(int(mask.count_nonzero()), (mask.shape[0], mask.shape[1]))


def csc_size(num_ones: int, shape: tuple[int, int], num_masks: int = 1) -> int:
    """`csc_bytes` of `num_masks` masks of shape (I, O) that have `num_ones` ones in total."""
    num_inputs, num_outputs = shape
    if num_inputs > MAX_CSC_ROWS:
        raise ValueError(
            f"a mask of {num_inputs} inputs cannot number them by 16 bits, which reach {MAX_CSC_ROWS}: "
            "count it with bit_bytes."
        )
    return 2 * (num_ones + num_masks * (num_outputs + 1))

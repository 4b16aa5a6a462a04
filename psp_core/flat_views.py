"""One tensor that holds many, a row for each member, and views of it by name."""

import torch
from torch import Tensor

# E members

Tensors = dict[str, Tensor]


def flat_views(
    shapes: dict[str, torch.Size], num_members: int, device: torch.device, dtype: torch.dtype | None = None
) -> tuple[Tensor, Tensors]:
    """One tensor of zeros, of the default type if none is given, and views of it with the shapes given.

    Each view begins at a multiple of 32 numbers in every row, 128 bytes in float32, which matrix products on GPUs need
    to be fast; between them zeros stay zeros.
    """
    sizes = [shape.numel() for shape in shapes.values()]
    flat = torch.zeros(num_members, sum(map(_padded, sizes)), device=device, dtype=dtype)
    return flat, named_views(shapes, flat)


def named_views(shapes: dict[str, torch.Size], flat: Tensor) -> Tensors:
    """Views of a tensor in the order of `flat_views`."""
    sizes = [shape.numel() for shape in shapes.values()]
    pieces = torch.split(flat, list(map(_padded, sizes)), dim=1)
    views = [
        piece[:, :size].view(len(flat), *shape)
        for piece, size, shape in zip(pieces, sizes, shapes.values(), strict=True)
    ]
    return dict(zip(shapes, views, strict=True))


def _padded(size: int) -> int:
    return -(-size // 32) * 32

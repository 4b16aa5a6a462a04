"""Rotation contexts: Haar-distributed orthogonal matrices."""

from typing import ClassVar

import torch
from torch import Tensor

from psp_core.contexts.base import Context

# K tasks, I inputs


def haar_orthogonal(size: int, generator: torch.Generator) -> Tensor:
    """A Haar-distributed orthogonal matrix, shape (I, I).

    QR of a Gaussian matrix, with the signs of R's diagonal moved into Q; without that step the
    distribution is not Haar's (Mezzadri 2007, "How to generate random matrices").
    """
    q, r = torch.linalg.qr(torch.randn(size, size, generator=generator))
    orthogonal: Tensor = q * r.diagonal().sign()
    return orthogonal


class Rotation(Context):
    """c(k) orthogonal, Haar-distributed; the inverse is the transpose (paper A, section 2.2).

    Costs I x I numbers for each task and layer, and one more matrix product for each layer.
    """

    name: ClassVar[str] = "rotation"

    def sample(self, num_tasks: int, size: int, generator: torch.Generator) -> Tensor:
        """Orthogonal matrices, shape (K, I, I)."""
        return torch.stack([haar_orthogonal(size, generator) for _ in range(num_tasks)])

    def bind(self, x: Tensor, context: Tensor) -> Tensor:
        """C x for each row of x, shapes (..., I) and (I, I)."""
        return x @ context.mT

    def unbind(self, x: Tensor, context: Tensor) -> Tensor:
        """C^T x for each row of x."""
        return x @ context

    def bytes_per_task(self, size: int) -> int:
        """A 4-byte number for each entry of the matrix."""
        return 4 * size * size

    def num_products(self, size: int) -> int:
        """A matrix-vector product."""
        return size * size

"""Rotation contexts: Haar-distributed orthogonal matrices."""

from typing import ClassVar, Final

import torch
from torch import Tensor

from psp_core.contexts.base import Context, Crosstalk

# K tasks, I inputs

QR_PRODUCTS: Final = 4
"""A decomposition of I x I takes as long as so many I^3 multiplications: 3.9 at 784 inputs, 9 at 256, 2.9 at 2048, on
one core of the machine in docs/performance.md."""


def haar_orthogonal(
    size: int, generator: torch.Generator, device: torch.device | None = None, dtype: torch.dtype | None = None
) -> Tensor:
    """A Haar-distributed orthogonal matrix, shape (I, I).

    QR of a Gaussian matrix, with the signs of R's diagonal moved into Q; without that step the
    distribution is not Haar's (Mezzadri 2007, "How to generate random matrices").
    """
    q, r = torch.linalg.qr(torch.randn(size, size, generator=generator, dtype=dtype).to(device))
    orthogonal: Tensor = q.mul_(r.diagonal().sign())
    return orthogonal


class Rotation(Context, name="rotation"):
    """c(k) orthogonal, Haar-distributed; the inverse is the transpose (paper A, section 2.2).

    Costs I x I numbers for each task and layer, and one more matrix product for each layer. All
    tasks' matrices are kept, not drawn again: measuring after each task needs those of every task
    seen, and a QR decomposition costs more than the product it serves.
    """

    binding: ClassVar[str] = "matrix product"
    is_mixable: ClassVar[bool] = True
    crosstalk: ClassVar[Crosstalk | None] = "spread"

    def shape(self, size: int) -> tuple[int, ...]:
        """A matrix."""
        return (size, size)

    def sample(
        self, num_tasks: int, size: int, generator: torch.Generator, device: torch.device | None = None
    ) -> Tensor:
        """Orthogonal matrices, shape (K, I, I): filled one by one, for all of them may be gigabytes."""
        contexts = torch.empty(num_tasks, size, size, device=device)
        for context in contexts:
            context.copy_(haar_orthogonal(size, generator, device))
        return contexts

    def bind(self, x: Tensor, context: Tensor) -> Tensor:
        """C x for each row of x, shapes (..., B, I) and (..., I, I)."""
        return x @ context.mT

    def unbind(self, x: Tensor, context: Tensor) -> Tensor:
        """C^T x for each row of x."""
        return x @ context

    def bytes_per_task(self, size: int) -> int:
        """A 4-byte number for each entry of the matrix."""
        return 4 * size * size

    def products(self, size: int) -> list[tuple[int, int, int]]:
        """A matrix-vector product."""
        return [(1, size, size)]

    def drawing_products(self, num_tasks: int, size: int) -> int:
        """A decomposition for each."""
        return num_tasks * QR_PRODUCTS * size**3

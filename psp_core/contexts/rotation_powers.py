"""Rotation powers: matrix powers of one rotation."""

from itertools import accumulate, repeat
from typing import ClassVar

import torch
from torch import Tensor

from psp_core.contexts.base import Crosstalk
from psp_core.contexts.rotation import QR_PRODUCTS, Rotation, haar_orthogonal

# K tasks, I inputs


class RotationPowers(Rotation, name="rotation-powers"):
    """c(k) = Q^(k+1), matrix powers of one Haar-distributed rotation Q; the inverse is the transpose.

    Orthogonal. A task costs 4 bytes, its exponent, and all tasks share the 4 I^2 bytes of Q. The powers
    are kept as matrices nevertheless, so memory and arithmetic are those of `rotation`.

    Tasks that are j apart are told apart by Q^j, whose eigenvalues repel each other less the larger j
    is: for |w| = |x| = 1 and w = x, the second moment of the crosstalk is (I + 1 + j + e) / (I (I + 2))
    with e = 1 for even j and 0 for odd ones, while j <= I / 2 (Diaconis and Shahshahani 1994, "On the
    eigenvalues of random matrices", have the traces' moments). A Haar rotation of its own for each
    task has 1 / I.

    Source: "rotation powers" of the released code (papers.md, A7); not in the paper. Powers begin at 1
    here, so that no task has the identity.
    """

    is_learnable: ClassVar[bool] = False
    crosstalk: ClassVar[Crosstalk | None] = None  # it grows with the tasks' distance

    def sample(
        self, num_tasks: int, size: int, generator: torch.Generator, device: torch.device | None = None
    ) -> Tensor:
        """Orthogonal matrices, shape (K, I, I), filled one by one.

        Powers are taken in double precision: each product would take float32 further from orthogonal.
        """
        first = haar_orthogonal(size, generator, device, torch.float64)
        contexts = torch.empty(num_tasks, size, size, device=device)
        for context, power in zip(contexts, accumulate(repeat(first), torch.matmul), strict=False):
            context.copy_(power)
        return contexts

    def bytes_once(self, size: int) -> int:
        """The rotation: a 4-byte number for each entry of the matrix."""
        return 4 * size * size

    def bytes_per_task(self, size: int) -> int:
        """One 4-byte exponent."""
        return 4

    def drawing_products(self, num_tasks: int, size: int) -> int:
        """A decomposition, and a product for each further power; of float64, which take twice as long."""
        return 2 * (QR_PRODUCTS + num_tasks - 1) * size**3

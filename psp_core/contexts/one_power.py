"""OnePower contexts: integer powers of one complex context."""

from typing import ClassVar

import torch
from torch import Tensor

from psp_core.contexts.complex import Complex, phases, unit_phasors


class OnePower(Complex, name="one-power"):
    """c(k)_j = exp(i (k+1) phi_j): one complex context, raised to a power for each task.

    Tasks are numbered from 0 and the powers from 1, so that no task gets the trivial all-ones
    context. The powers are integers as in paper A, section 2.2; its released code lets the
    exponent drift within a task (papers.md, A7).
    """

    is_learnable: ClassVar[bool] = False

    def sample(
        self, num_tasks: int, size: int, generator: torch.Generator, device: torch.device | None = None
    ) -> Tensor:
        """Unit phasors, shape (K, 2, I)."""
        powers = torch.arange(1, num_tasks + 1, dtype=torch.float64)
        return unit_phasors(torch.outer(powers, phases(size, generator))).to(device)

    def bytes_once(self, size: int) -> int:
        """The first context: a 4-byte phase for each input."""
        return 4 * size

    def bytes_per_task(self, size: int) -> int:
        """One 4-byte exponent (paper A, Table 1: one more parameter)."""
        return 4

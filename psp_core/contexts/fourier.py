"""Fourier contexts: rows of the discrete Fourier transform."""

import math
from typing import ClassVar

import torch
from torch import Tensor

from psp_core.contexts.base import Crosstalk
from psp_core.contexts.complex import Complex, unit_phasors

# K tasks, I inputs, 2 = real and imaginary part


class Fourier(Complex, name="fourier"):
    """c(k)_j = exp(2 pi i f(k) j / I), j = 0..I-1: a row of the DFT matrix; the inverse is the conjugate.

    The frequencies f(k) are 0..I-1 in random order, so there are I different contexts, and their rows are
    exactly orthogonal to each other. One of them, f = 0, is all ones. Orthogonal as a map; 4 bytes per
    task, its frequency.

    The context of task k over that of task s is again a row, of frequency f(k) - f(s): crosstalk is a
    Fourier coefficient of the elementwise product w * x, and small only where that product is not smooth
    along the inputs' order.

    Source: ours, after the released code's "Fourier" (papers.md, A7). There, task k has exp(2 pi i k (j + 1) / P),
    with P the number of contexts that there is room for (50), not I: inputs that are P apart always have the same
    phase, k counts on within a task, and task 0 has the all-ones context.
    """

    crosstalk: ClassVar[Crosstalk | None] = None  # likewise of two frequencies

    def max_tasks(self, size: int) -> int | None:
        """The number of frequencies."""
        return size

    def sample(
        self, num_tasks: int, size: int, generator: torch.Generator, device: torch.device | None = None
    ) -> Tensor:
        """Unit phasors, shape (K, 2, I)."""
        self._check_num_tasks(num_tasks, size, unlimited="complex")
        frequencies = torch.randperm(size, generator=generator)[:num_tasks]
        turns = torch.outer(frequencies, torch.arange(size)) % size  # whole numbers: exact
        return unit_phasors(turns.double() * (2 * math.pi / size)).to(device)

    def bytes_per_task(self, size: int) -> int:
        """One 4-byte frequency."""
        return 4

"""Hadamard contexts: rows of the Sylvester-Hadamard matrix."""

from typing import ClassVar

import torch
from torch import Tensor

from psp_core.contexts.base import Crosstalk
from psp_core.contexts.binary import Binary

# K tasks, I inputs, N the next power of two


class Hadamard(Binary, name="hadamard"):
    """c(k) = row r(k) of the N x N Sylvester-Hadamard matrix, at I of its N columns; its own inverse.

    Entry (r, c) is (-1)^popcount(r & c). N is I, or the next power of two: a layer of I inputs then has I
    of the columns, which is the same as an input padded with zeros to N. That costs orthogonality of the
    rows to each other, though not of the context as a map: the rows' scalar products are 0 where I = N,
    and else average I (N - I) / (N - 1) in the square, against I for random signs. Both the order of the
    rows and the choice of the columns are random. One of the rows is all ones.

    There are N different contexts: two rows differ at N / 2 columns, and I of more than N / 2 columns
    always contain one of those. Orthogonal; 4 bytes per task, the row's number. The columns cost nothing,
    because the seed gives them.

    Source: ours, after the released code's "Hadamard" (papers.md, A7). There, task k has row k, all columns, where I is
    a power of two, so that task 0 has the all-ones context; any other layer, such as one of 784 inputs, has random
    signs, which are `binary` here.
    """

    crosstalk: ClassVar[Crosstalk | None] = None  # two rows differ: the sum over i has a part less

    def max_tasks(self, size: int) -> int | None:
        """N, the number of rows."""
        return _next_power_of_two(size)

    def sample(
        self, num_tasks: int, size: int, generator: torch.Generator, device: torch.device | None = None
    ) -> Tensor:
        """Rows of signs, shape (K, I), float."""
        self._check_num_tasks(num_tasks, size, unlimited="binary")
        num_rows = _next_power_of_two(size)
        rows = torch.randperm(num_rows, generator=generator)[:num_tasks]
        columns = torch.randperm(num_rows, generator=generator)[:size]
        return hadamard_entries(rows[:, None], columns).to(device)

    def bytes_per_task(self, size: int) -> int:
        """The 4-byte number of a row."""
        return 4


def hadamard_entries(rows: Tensor, columns: Tensor) -> Tensor:
    """Entries (-1)^popcount(r & c) of the Sylvester-Hadamard matrix; integer tensors that broadcast, to float."""
    parity = rows & columns
    for shift in (32, 16, 8, 4, 2, 1):
        parity = parity ^ (parity >> shift)
    return 1 - 2 * (parity & 1).to(torch.get_default_dtype())


def _next_power_of_two(size: int) -> int:
    return 1 << (size - 1).bit_length()

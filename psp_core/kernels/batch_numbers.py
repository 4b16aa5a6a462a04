"""Which samples a step trains on, and their labels."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import torch
from torch import Tensor

from psp_core.kernels.choice import Kernel, blocks, has_kernels

if TYPE_CHECKING:
    import triton.language as tl

# S steps, E members, B batch, N samples

BLOCK: Final = 256
"""Samples of a program, two for each of 128 threads."""


def batch_numbers(samples_SEB: Tensor, step_1: Tensor, labels_N: Tensor) -> tuple[Tensor, Tensor]:
    """The samples' numbers (E, B) at a step, and the labels (E, B) of these samples; all int64."""
    if has_kernels(samples_SEB.device):
        return launch(samples_SEB, step_1, labels_N)
    return reference(samples_SEB, step_1, labels_N)


def reference(samples_SEB: Tensor, step_1: Tensor, labels_N: Tensor) -> tuple[Tensor, Tensor]:
    """The same by PyTorch's operations."""
    samples_EB = samples_SEB.index_select(0, step_1)[0]
    return samples_EB, labels_N.index_select(0, samples_EB.flatten()).view_as(samples_EB)


def launch(samples_SEB: Tensor, step_1: Tensor, labels_N: Tensor) -> tuple[Tensor, Tensor]:
    """The same in one pass."""
    samples_EB = torch.empty_like(samples_SEB[0])
    labels_EB = torch.empty_like(samples_EB)
    size = samples_EB.numel()
    _batch_numbers.launch(
        (blocks(size, BLOCK),), samples_SEB, step_1, labels_N, samples_EB, labels_EB, size, BLOCK=BLOCK
    )
    return samples_EB, labels_EB


@Kernel
def _batch_numbers(
    all_samples: tl.tensor, step: tl.tensor, all_labels: tl.tensor, samples: tl.tensor, labels: tl.tensor,
    size: int, BLOCK: tl.constexpr,
) -> None:  # fmt: skip
    place = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    inside = place < size
    sample = tl.load(all_samples + tl.load(step) * size + place, mask=inside, other=0)
    tl.store(samples + place, sample, mask=inside)
    tl.store(labels + place, tl.load(all_labels + sample, mask=inside, other=0), mask=inside)

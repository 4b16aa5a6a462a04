"""The end of a step's forward pass and the beginning of its backward pass: logits, loss, and the loss's gradient."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import torch
from torch import Tensor

from psp_core.kernels.choice import Kernel, has_kernels, power_of_two

if TYPE_CHECKING:
    import triton.language as tl

# E members, B batch, O outputs

MOST_OUTPUTS: Final = 512
"""With more, PyTorch's operations serve: a single program has a member's batch, some columns of it at a time."""

TILE: Final = 4096
"""Numbers of a program's tile, 32 for each of 128 threads."""


def softmax_loss(
    logits_EOB: Tensor, bias_EO: Tensor, labels_EB: Tensor, bias_gradient_EO: Tensor
) -> tuple[Tensor, Tensor]:
    """Mean cross-entropy of softmax(logits + bias), and its gradient.

    Args:
        logits_EOB: in any order in memory; they may be overwritten.
        bias_EO: the last layer's.
        labels_EB: int64.
        bias_gradient_EO: where the bias's gradient is written, the sum of the logits' over the batch.

    Returns:
        The loss in nats, (E,), and the gradient of the logits, (E, O, B).
    """
    if has_kernels(logits_EOB.device) and logits_EOB.shape[1] <= MOST_OUTPUTS:
        return launch(logits_EOB, bias_EO, labels_EB, bias_gradient_EO)
    return reference(logits_EOB, bias_EO, labels_EB, bias_gradient_EO)


def reference(
    logits_EOB: Tensor, bias_EO: Tensor, labels_EB: Tensor, bias_gradient_EO: Tensor
) -> tuple[Tensor, Tensor]:
    """The same by PyTorch's operations."""
    given, labels_E1B = logits_EOB.dtype, labels_EB[:, None]
    logits_EOB = logits_EOB.to(bias_EO.dtype).add_(bias_EO[:, :, None])
    log_probabilities = torch.log_softmax(logits_EOB, 1)
    loss_E = log_probabilities.gather(1, labels_E1B).mean(dim=(1, 2)).neg_()
    gradient = log_probabilities.exp_()
    minus_one = torch.full((1, 1, 1), -1.0, dtype=gradient.dtype, device=gradient.device).expand(labels_E1B.shape)
    gradient.scatter_add_(1, labels_E1B, minus_one).mul_(1 / labels_EB.shape[1])
    torch.sum(gradient, 2, dtype=bias_gradient_EO.dtype, out=bias_gradient_EO)
    return loss_E, gradient.to(given)


def launch(logits_EOB: Tensor, bias_EO: Tensor, labels_EB: Tensor, bias_gradient_EO: Tensor) -> tuple[Tensor, Tensor]:
    """The same in one pass: a program for each member, which adds its samples in one order, so sums repeat."""
    num_members, num_outputs, num_samples = logits_EOB.shape
    loss_E = torch.empty(num_members, dtype=bias_EO.dtype, device=logits_EOB.device)
    outputs = power_of_two(num_outputs, least=16, most=MOST_OUTPUTS)
    _softmax_loss.launch(
        (num_members,), logits_EOB, bias_EO, labels_EB, loss_E, bias_gradient_EO, num_outputs, num_samples,
        *logits_EOB.stride(), bias_EO.stride(0), labels_EB.stride(0), bias_gradient_EO.stride(0),
        OUTPUTS=outputs, SAMPLES=power_of_two(num_samples, least=1, most=min(128, TILE // outputs)),
    )  # fmt: skip
    return loss_E, logits_EOB


@Kernel
def _softmax_loss(
    logits: tl.tensor, bias: tl.tensor, labels: tl.tensor, loss: tl.tensor, bias_gradient: tl.tensor,
    num_outputs: int, num_samples: int, member_stride: int, output_stride: int, sample_stride: int,
    bias_stride: int, labels_stride: int, gradient_stride: int,
    OUTPUTS: tl.constexpr, SAMPLES: tl.constexpr,
) -> None:  # fmt: skip
    member = tl.program_id(0).to(tl.int64)
    output = tl.arange(0, OUTPUTS)
    is_output = output < num_outputs
    wide = tl.float64 if logits.dtype.element_ty == tl.float64 else tl.float32
    b = tl.load(bias + member * bias_stride + output, mask=is_output, other=0.0)
    losses = tl.zeros([SAMPLES], dtype=wide)
    totals = tl.zeros([OUTPUTS, SAMPLES], dtype=wide)
    for first in range(0, num_samples, SAMPLES):
        sample = first + tl.arange(0, SAMPLES)
        is_sample = sample < num_samples
        inside = is_output[:, None] & is_sample[None, :]
        places = logits + member * member_stride + output[:, None] * output_stride + sample[None, :] * sample_stride
        x = tl.load(places, mask=inside, other=0.0).to(wide) + b[:, None]
        x = tl.where(is_output[:, None], x, float("-inf"))
        label = tl.load(labels + member * labels_stride + sample, mask=is_sample, other=0)
        is_label = output[:, None] == label[None, :]
        most = tl.max(x, 0)
        exponential = tl.exp(x - most[None, :])
        total = tl.sum(exponential, 0)
        chosen = tl.sum(tl.where(is_label, x, 0.0), 0)
        losses += tl.where(is_sample, tl.log(total) + most - chosen, 0.0)
        gradient = (exponential / total[None, :] - is_label.to(wide)) / num_samples
        tl.store(places, gradient, mask=inside)
        totals += tl.where(inside, gradient, 0.0)
    tl.store(loss + member, tl.sum(losses, 0) / num_samples)
    tl.store(bias_gradient + member * gradient_stride + output, tl.sum(totals, 1), mask=is_output)

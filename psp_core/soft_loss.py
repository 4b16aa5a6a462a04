"""Cross-entropy with probabilities in the place of labels, by hand: what distillation minimises."""

import torch
from torch import Tensor

# E members, B batch, O outputs


def soft_loss(
    logits_EOB: Tensor, bias_EO: Tensor, targets_EBO: Tensor, bias_gradient_EO: Tensor, *, temperature: float
) -> tuple[Tensor, Tensor]:
    """Mean over the batch of - sum_o q_o log softmax((logits + bias) / T)_o, and its gradient.

    The arguments and results are those of `kernels.softmax_loss.softmax_loss`, but for two.

    Args:
        logits_EOB: in any order in memory; they may be overwritten.
        bias_EO: the last layer's.
        targets_EBO: q, which add up to 1.
        bias_gradient_EO: where the bias's gradient is written, the sum of the logits' over the batch.
        temperature: T. The loss is not multiplied by its square.

    Returns:
        The loss in nats, (E,), and the gradient of the logits, (E, O, B).
    """
    given, targets_EOB = logits_EOB.dtype, targets_EBO.mT
    logits_EOB = logits_EOB.to(bias_EO.dtype).add_(bias_EO[:, :, None]).div_(temperature)
    log_probabilities = torch.log_softmax(logits_EOB, 1)
    loss_E = (log_probabilities * targets_EOB).sum(1).mean(1).neg_()
    gradient = log_probabilities.exp_().sub_(targets_EOB).mul_(1 / (temperature * targets_EBO.shape[1]))
    torch.sum(gradient, 2, dtype=bias_gradient_EO.dtype, out=bias_gradient_EO)
    return loss_E, gradient.to(given)

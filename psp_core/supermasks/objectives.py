"""The objectives of task inference: each falls when the right task's mask gets more weight."""

from collections.abc import Callable
from typing import Final

import torch
from torch import Tensor

# B images, S logits, L of them of real classes

Objective = Callable[[Tensor, int], Tensor]


def entropy(logits: Tensor, num_real: int) -> Tensor:
    """H = mean over images of - sum_s p_s log p_s, p = softmax(logits): nats, (..., B, S) to (...).

    The sum is over all S outputs, superfluous ones included. `num_real` is not used.

    Source: papers.md, B4.
    """
    log_probabilities = logits.log_softmax(-1)
    return -(log_probabilities.exp() * log_probabilities).sum(-1).mean(-1)


def superfluous(logits: Tensor, num_real: int) -> Tensor:
    """G = mean over images of log sum_s exp(logit_s), whose gradient stops at the real outputs.

    Training pushes down the outputs without a class ("superfluous neurons") under the trained mask alone. So the right
    mask lowers them.

    Args:
        logits: (..., B, S), the real outputs first.
        num_real: L, less than S.

    Returns:
        Nats, shape (...).

    Raises:
        ValueError: there are no superfluous outputs.

    Source: papers.md, B4. The paper's code has 10 real outputs; here their number is an argument.
    """
    if not 0 <= num_real < logits.shape[-1]:
        raise ValueError(
            f"objective='superfluous' needs more outputs than real classes; there are {logits.shape[-1]} outputs for "
            f"{num_real} classes. Take more outputs, or objective 'entropy'."
        )
    real, other = logits[..., :num_real].detach(), logits[..., num_real:]
    return torch.cat([real, other], -1).logsumexp(-1).mean(-1)


OBJECTIVES: Final[dict[str, Objective]] = {"entropy": entropy, "superfluous": superfluous}

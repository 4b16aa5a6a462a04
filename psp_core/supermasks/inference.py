"""Which task is it? Algorithms that find the mask, or the context, for a batch whose task is not told."""

from collections.abc import Callable
from typing import Final, Protocol

import torch
from torch import Tensor

# A questions, each about one batch, K tasks stored, m of them still possible

EPS: Final = 2**-3


class Superposed(Protocol):
    """A network of K tasks at once, p(alpha), and an objective F of it: `Superposition` of masks, or of contexts."""

    def __len__(self) -> int:
        """K, the number of tasks, at least one."""

    def gradient(self, x: Tensor, alpha: Tensor | None = None, tasks: Tensor | None = None) -> Tensor:
        """dF/dalpha (..., m) for batches (..., B, I); see `Superposition.gradient`."""

    def value(self, x: Tensor, task: int) -> Tensor:
        """F of one task's own network, (...) for batches (..., B, I)."""


Algorithm = Callable[[Superposed, Tensor], Tensor]
"""From a network with all its tasks, and batches (..., B, I), of which each is a question: 1 image, or all.

Gives each question's task, int64 (...); of equals the first.
"""


def one_shot(superposition: Superposed, x: Tensor) -> Tensor:
    """argmax_i of - dF/dalpha_i at alpha_i = 1 / K: one forward and one backward pass.

    Source: "One-Shot" (papers.md, B4).
    """
    return superposition.gradient(x).argmin(-1)


@torch.no_grad()
def binary(superposition: Superposed, x: Tensor) -> Tensor:
    """Halve the possible tasks until one is left: those with g_i at most the median stay, g = dF/dalpha.

    Alpha is uniform over those that are left: of m the ceil(m / 2) with the lowest gradients stay, so it takes
    ceil(log2 K) rounds. Of equals at the boundary those of lower number stay. The paper's code keeps all
    equals, so it may not end; it then stops after log2(capacity) + 1 rounds and answers as for the batch before.

    Source: "Binary" (papers.md, B4).
    """
    x_ABI = x.reshape(-1, *x.shape[-2:])
    left_Am = torch.arange(len(superposition), device=x.device).expand(len(x_ABI), -1)
    while (num_left := left_Am.shape[1]) > 1:
        lowest = _gradient_over(superposition, x_ABI, left_Am).argsort(dim=-1, stable=True)
        kept = lowest[:, : -(-num_left // 2)].sort(-1).values  # in the tasks' order, by which equals are parted
        left_Am = left_Am.gather(-1, kept)
    return left_Am.view(x.shape[:-2])


def _gradient_over(superposition: Superposed, x_ABI: Tensor, left_Am: Tensor) -> Tensor:
    """dF/dalpha (A, m) of each question's own tasks, at alpha uniform over them."""
    if left_Am.shape[1] == len(superposition):
        return superposition.gradient(x_ABI)
    tasks, places_Am = torch.unique(left_Am, return_inverse=True)  # those that are possible for any question
    alpha = x_ABI.new_zeros(len(x_ABI), len(tasks)).scatter_(-1, places_Am, 1 / left_Am.shape[1])
    return superposition.gradient(x_ABI, alpha, tasks).gather(-1, places_Am)


@torch.no_grad()
def gradient_descent(superposition: Superposed, x: Tensor, *, lr: float, num_steps: int) -> Tensor:
    """argmax_i of alpha_i, after steps alpha <- alpha - lr dF/dalpha from 1 / K, each made to sum to 1.

    What falls below zero becomes zero, so that alpha remains an average; a step so long that
    nothing is left is not taken. The paper does not say what it does then.

    Args:
        superposition: the network and all its tasks.
        x: (..., B, I), a question for each batch.
        lr: eta; alpha is about 1 / K, and so is a useful eta.
        num_steps: how many.

    Raises:
        ValueError: `lr` or `num_steps` is not positive.

    Source: equation 3 (papers.md, B4); not used in the paper's MNIST experiments.
    """
    if lr <= 0 or num_steps <= 0:
        raise ValueError(f"lr={lr} and num_steps={num_steps} must be positive: without a step all tasks are equal.")
    num_tasks = len(superposition)
    alpha = x.new_full((*x.shape[:-2], num_tasks), 1 / num_tasks)
    for _ in range(num_steps):
        stepped = (alpha - lr * superposition.gradient(x, alpha)).clamp_(min=0)
        total = stepped.sum(-1, keepdim=True)
        alpha = torch.where(total > 0, stepped / total, alpha)
    return alpha.argmax(-1)


@torch.no_grad()
def exhaustive(superposition: Superposed, x: Tensor) -> Tensor:
    """argmin_i of F at alpha = e_i: each task's own network answers, K forward passes.

    The limit of what F can tell; the other algorithms come close to it with few passes through one network. F must
    compare networks, as the entropy does.

    Source: ours, as the measure of paper B's search in superposition (papers.md, B4).
    """
    return torch.stack([superposition.value(x, task) for task in range(len(superposition))], -1).argmin(-1)


def is_new_task(gradient: Tensor, k: int, eps: float = EPS) -> Tensor:
    """Whether no stored task explains the batch: k max_i nu_i < 1 + eps, nu = softmax(- dF/dalpha).

    Args:
        gradient: dF/dalpha (..., k) at alpha_i = 1 / k, F the entropy.
        k: over how many masks. The paper's code takes 5 while there are fewer, so that untrained masks
            are among them; to do so, store them, and give k=5.
        eps: how far from uniform nu may be.

    Returns:
        bool (...).

    Raises:
        ValueError: the gradient is about another number of masks.

    Source: "NNs rule" (papers.md, B4).
    """
    if gradient.shape[-1] != k:
        raise ValueError(f"k={k} masks have {k} gradients; there are {gradient.shape[-1]}.")
    return k * (-gradient).softmax(-1).amax(-1) < 1 + eps

"""Finds, among the masks of a Hopfield network, the mask that fits a task's images."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from psp_core.supermasks.hopfield import HopfieldMemory
from psp_core.supermasks.masks import threshold_mask
from psp_core.supermasks.objectives import entropy

# D entries of a layer's mask, B images, O outputs

Network = Callable[[Sequence[Tensor], Tensor], Tensor]
"""A network with masks: each layer's mask (D,) and a batch of images (B, ...) to logits (B, O)."""


@dataclass(frozen=True, kw_only=True)
class RecoveryConfig:
    """How a mask is recovered; the values are the paper's.

    Args:
        lr: of gradient descent on the mask's scores.
        momentum: in [0, 1).
        weight_decay: the share of the scores that is added to each gradient.
        gamma: the energy's weight in the last step; the entropy's weight begins at 1.
        layer_by_layer: descend in the scores of one layer after another, beginning with the first, with all batches
            for each layer. The paper descends in all layers together.

    Raises:
        ValueError: a value breaks its rule.
    """

    lr: float = 500.0
    momentum: float = 0.9
    weight_decay: float = 1e-4
    gamma: float = 1.5e-3
    layer_by_layer: bool = False

    def __post_init__(self) -> None:
        """Check each value."""
        if self.lr <= 0:
            raise ValueError(f"lr={self.lr} must be positive.")
        if not 0 <= self.momentum < 1:
            raise ValueError(f"momentum={self.momentum} must lie in [0, 1).")
        for name, value in {"weight_decay": self.weight_decay, "gamma": self.gamma}.items():
            if value < 0:
                raise ValueError(f"{name}={value} must be at least 0.")


def recover(
    memories: Sequence[HopfieldMemory],
    network: Network,
    batches: Sequence[Tensor],
    config: RecoveryConfig | None = None,
) -> list[Tensor]:
    """Descend from the mean of the stored masks to an attractor under which the network's outputs are confident.

    Step t of T takes one batch and descends in L = (1 - t / T) H + gamma (t / T) sum over layers of E. H is the mean
    entropy of the network's outputs, E the energy of z = 2 M - 1, and M = 1 where a score s is at least 0. The gradient
    passes straight through the threshold: g = dL/dM + weight_decay s; v = momentum v + g; s -= lr v.

    Args:
        memories: a memory for each masked layer, with at least one mask each.
        network: maps masks and images to logits; differentiable with respect to the masks.
        batches: the task's images, on the memories' device.
        config: the settings; None for the paper's.

    Returns:
        The masks after the last step, float zeros and ones, (D,) for each memory.

    Raises:
        ValueError: a memory is empty.

    Source: HopSupSup's recovery (papers.md, B4), as in the code, t = 1..T.
    """
    config = config or RecoveryConfig()
    if any(len(memory) == 0 for memory in memories):
        raise ValueError("a memory without masks has none to recover: append the tasks' masks first.")
    scores = [memory.mean.clone() for memory in memories]
    layers = range(len(scores))
    for moved in [[layer] for layer in layers] if config.layer_by_layer else [list(layers)]:
        velocities = [torch.zeros_like(scores[layer]) for layer in moved]
        for step, x in enumerate(batches, start=1):
            gradients = _gradients(memories, network, scores, x, step / len(batches), config.gamma)
            for layer, velocity in zip(moved, velocities, strict=True):
                velocity.mul_(config.momentum).add_(gradients[layer]).add_(scores[layer], alpha=config.weight_decay)
                scores[layer].sub_(velocity, alpha=config.lr)
    return [threshold_mask(score) for score in scores]


def _gradients(
    memories: Sequence[HopfieldMemory],
    network: Network,
    scores: Sequence[Tensor],
    x: Tensor,
    progress: float,
    gamma: float,
) -> tuple[Tensor, ...]:
    """dL/dM of each layer."""
    masks = [threshold_mask(score).requires_grad_() for score in scores]
    with torch.enable_grad():
        logits = network(masks, x)
        energies = [memory.energy(2 * mask - 1) for memory, mask in zip(memories, masks, strict=True)]
        uncertainty = entropy(logits, logits.shape[-1])
        loss = (1 - progress) * uncertainty + gamma * progress * torch.stack(energies).sum()
        return torch.autograd.grad(loss, masks)

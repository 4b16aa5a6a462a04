from collections.abc import Sequence
from typing import Any

import pytest
import torch
from torch import Tensor

from psp_core.supermasks import HopfieldMemory, RecoveryConfig, entropy, recover
from tests.contracts import rng
from tests.psp_core.supermasks.test_hopfield import SIZE, filled, patterns

Network = Any


def network_of(seed: int, sharpness: float = 1.0) -> Network:
    """Two masked layers between random weights; nothing that anybody trained."""
    first, second, last = (torch.randn(SIZE, SIZE, generator=rng(seed + i)) / SIZE**0.5 for i in range(3))

    def logits(masks: Sequence[Tensor], x: Tensor) -> Tensor:
        h = torch.nn.functional.silu((x @ first) * masks[0])
        return sharpness * torch.nn.functional.silu((h @ second) * masks[1]) @ last[:, :5]

    return logits


def images(num_batches: int) -> list[Tensor]:
    return list(torch.randn(num_batches, 8, SIZE, generator=rng(30)))


class Threshold(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, scores: Tensor) -> Tensor:
        return (scores >= 0).float()

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        return gradient


def recovered_by_torch(
    memories: list[HopfieldMemory], network: Network, batches: list[Tensor], config: RecoveryConfig
) -> list[Tensor]:
    """As the paper's code does it, with torch.optim and autograd."""
    scores = [memory.mean.clone().requires_grad_() for memory in memories]
    for moved in [[score] for score in scores] if config.layer_by_layer else [scores]:
        optimiser = torch.optim.SGD(moved, lr=config.lr, momentum=config.momentum, weight_decay=config.weight_decay)
        descend(memories, scores, optimiser, network, batches, config)
    return [(score >= 0).float() for score in scores]


def descend(
    memories: list[HopfieldMemory],
    scores: list[Tensor],
    optimiser: torch.optim.Optimizer,
    network: Network,
    batches: list[Tensor],
    config: RecoveryConfig,
) -> None:
    for t, x in enumerate(batches, start=1):
        masks = [Threshold.apply(score) for score in scores]
        loss = (1 - t / len(batches)) * entropy(network(masks, x), 5)
        for memory, mask in zip(memories, masks, strict=True):
            z = 2 * mask - 1
            loss = loss + config.gamma * t / len(batches) * -0.5 * z @ memory.psi @ z
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()


@pytest.mark.parametrize(
    "config",
    [
        RecoveryConfig(),
        RecoveryConfig(lr=20, momentum=0.5, weight_decay=0.01, gamma=0),
        RecoveryConfig(lr=100, gamma=6e-3, layer_by_layer=True),
    ],
)
def test_steps_are_those_of_the_paper_s_code(config: RecoveryConfig) -> None:
    memories = [filled("storkey", 4, seed)[0] for seed in range(2)]
    start = [(memory.mean >= 0).float() for memory in memories]
    for num_batches in (1, 3, 6):
        mine = recover(memories, network_of(0), images(num_batches), config)
        expected = recovered_by_torch(memories, network_of(0), images(num_batches), config)
        for mask, other in zip(mine, expected, strict=True):
            assert torch.equal(mask, other)
    assert not all(torch.equal(*pair) for pair in zip(mine, start, strict=True))


def test_the_one_mask_stored_is_recovered_whatever_the_network() -> None:
    memories = [filled("storkey", 1, seed)[0] for seed in range(2)]
    masks = recover(memories, network_of(0, sharpness=0.1), images(20))
    for seed, mask in enumerate(masks):
        assert torch.equal(mask, patterns(1, seed)[0])


@pytest.mark.parametrize("task", range(3))
def test_the_mask_that_gives_confident_outputs_is_recovered(task: int) -> None:
    """Outputs here are the more confident the more a mask agrees with that of `task`, and know no other."""
    memory, z = filled("storkey", 3)

    def network(masks: Sequence[Tensor], x: Tensor) -> Tensor:
        agreement = (2 * masks[0] - 1) @ z[task] / SIZE
        return x[:, :2] * (1 + agreement)

    batches = [torch.tensor([[2.0, 0.0], [0.0, 2.0]])] * 30
    (mask,) = recover([memory], network, batches)
    assert torch.equal(mask, patterns(3)[task])


def test_an_empty_store_is_refused() -> None:
    with pytest.raises(ValueError, match="a memory without masks has none to recover"):
        recover([HopfieldMemory(4)], network_of(0), images(1))


@pytest.mark.parametrize(
    ("settings", "message"),
    [({"lr": 0}, "lr=0 must"), ({"momentum": 1}, "momentum=1 must lie"), ({"gamma": -1}, "gamma=-1 must be at least")],
)
def test_settings_are_checked(settings: dict[str, float], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        RecoveryConfig(**settings)

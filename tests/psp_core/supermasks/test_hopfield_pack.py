"""Whole trials of HopSupSup, beside a plain loop, and in packs."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import nn

from psp_core import TrialConfig, load_dataset, train
from psp_core.randomness import generator
from psp_core.supermasks import HopfieldStore, RecoveryConfig, recover, signed_kaiming_constant
from psp_core.training import PackTraining, _batch_order
from study.spec import load_study
from tests.conftest import whole_and_resumed

CPU = torch.device("cpu")
SPLIT = TrialConfig(
    dataset="digits", stream="split", classes_per_task=2, keep_labels=True, method="hopsupsup", context="none",
    width=48, num_tasks=3, steps_per_task=30, batch_size=64, optimiser="sgd", lr=0.1, momentum=0.9, weight_decay=1e-4,
)  # fmt: skip


class Threshold(torch.autograd.Function):
    @staticmethod
    def forward(ctx, scores: torch.Tensor) -> torch.Tensor:
        return (scores >= 0).float()

    @staticmethod
    def backward(ctx, gradient: torch.Tensor) -> torch.Tensor:
        return gradient


def logits(weights: list[torch.Tensor], masks: list[torch.Tensor], x: torch.Tensor) -> torch.Tensor:
    for weight, mask in zip(weights[:-1], masks, strict=True):
        x = nn.functional.silu(nn.functional.batch_norm(x @ weight, None, None, training=True) * mask)
    return x @ weights[-1]


@pytest.mark.parametrize("order", ["together", "layer-by-layer"])
def test_R_is_what_a_plain_loop_gives(order: str) -> None:
    config, data = replace(SPLIT, recovery_order=order), load_dataset("digits")
    sizes = [(64, 48), (48, 48), (48, 10)]
    weights = [signed_kaiming_constant(*size, generator(0, "frozen weights", i)) for i, size in enumerate(sizes)]
    stores = [HopfieldStore(48, "storkey") for _ in range(2)]
    R = torch.full((3, 3), float("nan"), dtype=torch.float64)
    for task in range(3):
        scores = [torch.zeros(48, requires_grad=True) for _ in range(2)]
        optimiser = torch.optim.SGD(scores, lr=0.1, momentum=0.9, weight_decay=1e-4)
        of_task = torch.isin(data.train_labels, torch.tensor([2 * task, 2 * task + 1])).nonzero()[:, 0]
        for places in _batch_order(config, len(of_task), task):
            x, labels = data.normalise(data.train_images[of_task[places]]), data.train_labels[of_task[places]]
            optimiser.zero_grad()
            nn.functional.cross_entropy(logits(weights, [Threshold.apply(s) for s in scores], x), labels).backward()
            optimiser.step()
        for store, score in zip(stores, scores, strict=True):
            store.append((score >= 0).float())
        for j in range(task + 1):
            tested = torch.isin(data.test_labels, torch.tensor([2 * j, 2 * j + 1]))
            x, labels = data.normalise(data.test_images[tested]), data.test_labels[tested]
            batches = x.tensor_split(-(-len(x) // 64))
            settings = RecoveryConfig(layer_by_layer=order == "layer-by-layer")
            masks = recover(stores, lambda masks, x: logits(weights, list(masks), x), batches, settings)
            R[task, j] = (logits(weights, masks, x).argmax(1) == labels).double().mean()
    torch.testing.assert_close(train([config])[0].accuracy, R, atol=0.03, rtol=0, equal_nan=True)


def test_packed_equals_alone() -> None:
    configs = [replace(SPLIT, seed=seed, lr=lr) for seed, lr in [(0, 0.1), (1, 0.1), (1, 0.03)]]
    for packed, config in zip(train(configs), configs, strict=True):
        alone = train([config])[0]
        torch.testing.assert_close(packed.accuracy, alone.accuracy, atol=0.05, rtol=0, equal_nan=True)
        torch.testing.assert_close(packed.mask_agreement, alone.mask_agreement, atol=0.1, rtol=0, equal_nan=True)


def test_training_goes_on_from_its_state_to_the_bit() -> None:
    configs = [replace(SPLIT, seed=seed, hopfield_rule="hebb") for seed in range(2)]
    whole, second = whole_and_resumed(configs, stop_after=1)
    for mine, theirs in zip(whole.results(), second.results(), strict=True):
        assert torch.equal(mine.loss.nan_to_num(), theirs.loss.nan_to_num())
        assert torch.equal(mine.mask_agreement.nan_to_num(), theirs.mask_agreement.nan_to_num())


@pytest.mark.slow
def test_each_task_s_masks_are_recovered_from_its_images_alone(mnist_root: Path) -> None:
    """The study's first trial: five tasks' masks in one matrix a layer, whose size does not grow with them."""
    (config, *_) = load_study("hopsupsup-split-mnist").trials()
    assert isinstance(config, TrialConfig)
    training = PackTraining([config], load_dataset("mnist", mnist_root), CPU)
    while not training.done:
        training.train_task()
    (result,) = training.results()
    assert (result.inferred[-1] == 1).all()
    assert (result.mask_agreement[-1] > 0.85).all()
    assert result.accuracy[-1].mean() > 0.95
    assert result.context_bytes_once == 2 * 4 * (2048**2 + 2048)
    assert result.context_bytes_per_task == result.num_params == 0


def test_tasks_keep_the_data_set_s_labels() -> None:
    assert SPLIT.num_outputs == 10
    assert replace(SPLIT, keep_labels=False).num_outputs == 2


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"context": "binary"}, "keeps tasks apart by masks"),
        ({"model": "small-conv"}, "masks the hidden units"),
        ({"task_inference": "entropy-one-shot"}, "recovers a task's masks"),
        ({"method": "psp", "recovery_lr": 100}, "recovery_lr=100.0 does not apply to method='psp'"),
        ({"hopfield_rule": "heb"}, "did you mean 'hebb'"),
        ({"batch_size": 1}, "normalises over a batch"),
        ({"stream": "permuting", "classes_per_task": None}, "keep_labels"),
    ],
)
def test_what_does_not_apply_is_refused(settings: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        replace(SPLIT, **settings)

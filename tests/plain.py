"""A network and its tasks' batches for plain PyTorch loops, to which what packs compute is compared."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from psp_core import Trial, TrialConfig, load_dataset
from psp_core.training import PackTraining
from psp_core.trial import replace

# B batch, I inputs, O outputs

SETTINGS: dict[str, Any] = {
    "dataset": "digits", "width": 7, "depth": 2, "num_tasks": 3, "steps_per_task": 6, "batch_size": 8,
    "context": "none", "optimiser": "sgd", "lr": 0.05, "precision": "float32",
}  # fmt: skip
Batches = list[list[tuple[Tensor, Tensor]]]
"""Inputs (B, I) and labels (B,) of each step, task by task."""


def trial_of(protect: dict[str, Any], **settings: Any) -> Trial:
    return TrialConfig(**{**SETTINGS, "protect": protect, **settings})


def begun(trial: Trial) -> tuple[list[Tensor], Batches]:
    """What a trial begins with, leaves of autograd: weight (I, O) and bias of each layer; and all its batches."""
    training = PackTraining([replace(trial, protect="none")], load_dataset("digits"), torch.device("cpu"))
    networks = training.learner.networks  # type: ignore[attr-defined]
    leaves = [parameter[0].clone().requires_grad_() for parameter in networks.parameters.values()]
    batches: Batches = []
    for task in range(trial.num_tasks):
        training.begin_task(task)
        steps = [training._batch(torch.tensor([step])) for step in range(trial.steps_per_task)]
        batches.append([(x_EBI[0], labels_EB[0]) for x_EBI, labels_EB in steps])
    return leaves, batches


def answers(leaves: Sequence[Tensor], x_BI: Tensor) -> Tensor:
    """Logits (B, O)."""
    x = x_BI
    for weight, bias in zip(leaves[:-2:2], leaves[1:-2:2], strict=True):
        x = (x @ weight + bias).relu()
    return x @ leaves[-2] + leaves[-1]


def gradient(leaves: Sequence[Tensor], loss: Tensor) -> list[Tensor]:
    return list(torch.autograd.grad(loss, list(leaves)))


def task_gradient(leaves: Sequence[Tensor], x_BI: Tensor, labels_B: Tensor) -> list[Tensor]:
    return gradient(leaves, nn.functional.cross_entropy(answers(leaves, x_BI), labels_B))


@torch.no_grad()
def descend(leaves: Sequence[Tensor], gradients: Sequence[Tensor], lr: float) -> None:
    for leaf, g in zip(leaves, gradients, strict=True):
        leaf -= lr * g


def packed(trial: Trial) -> tuple[PackTraining, list[Tensor]]:
    """The trial, trained by the packs' loop; weight and bias of each layer."""
    training = PackTraining([trial], load_dataset("digits"), torch.device("cpu"))
    while not training.done:
        training.train_task()
    return training, [parameter[0] for parameter in training.learner.networks.parameters.values()]  # type: ignore[attr-defined]

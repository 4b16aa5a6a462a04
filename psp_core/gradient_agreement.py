"""Training in superposition: does the shared weights' gradient stay that of the one model alone?

Proposition 3 of paper A: the gradient of task k's loss with respect to the shared weights is about
(dJ_k / dW(k)) c(k), the gradient of model k alone as it would be stored. The bound form is exact, for
retrieval is linear and keeps lengths; what is not exact is the place: the retrieved weights are W(k) and
the crosstalk of all other models, and the proof takes that as negligible. Here it is measured.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from psp_core.datasets import Dataset
from psp_core.devices import arithmetic
from psp_core.groups import Stretch
from psp_core.held_out import task_batch, task_samples
from psp_core.training import PackTraining
from psp_core.trial import Trial

SAMPLES = 2000  # training images on which gradients are taken


@dataclass(frozen=True, kw_only=True)
class Agreement:
    """Task 0's gradient once so many tasks are stored, beside that of its model alone.

    Attributes:
        tasks_seen: how many tasks are stored; 1 is the model alone.
        cosine: of the angle between the two gradients.
        length: the gradient's length over that of the model alone.
        loss: mean cross-entropy of task 0 on these images, nats.
    """

    tasks_seen: int
    cosine: float
    length: float
    loss: float


def gradient_agreement(config: Trial, dataset: Dataset, device: torch.device) -> Iterator[Agreement]:
    """Train a trial, and after each task compare task 0's gradient with what it was when only task 0 was stored.

    Weights after task 0 are the initial ones and what task 0 stored in them: its model alone.

    Raises:
        ValueError: not every task trains the shared weights.
    """
    if config.trunk != "shared":
        raise ValueError(f"trunk={config.trunk!r}: gradients agree or not where all tasks train it; use 'shared'.")
    training = PackTraining([config], dataset, device)
    alone: Tensor | None = None
    while not training.done:
        training.train_task()
        gradient, loss = _gradient_of_task_0(training)
        alone = gradient if alone is None else alone
        yield Agreement(
            tasks_seen=training.tasks_seen,
            cosine=torch.cosine_similarity(gradient, alone, dim=0).item(),
            length=(gradient.norm() / alone.norm()).item(),
            loss=loss,
        )


def _gradient_of_task_0(training: PackTraining) -> tuple[Tensor, float]:
    data, tasks, group = training.dataset, training.tasks[0], training.learner.groups[0]
    every_N = torch.arange(len(data.train_labels), device=training.device)
    samples_B = task_samples(tasks, 0, data.train_labels, every_N)[:SAMPLES]
    x_BI, labels_B = task_batch(tasks, 0, data, data.train_images[samples_B], data.train_labels[samples_B])
    batch = x_BI[None], labels_B[None]
    training.learner.begin(
        Stretch(
            task=0,
            index=0,
            count=1,
            batch_size=len(samples_B),
            first=lambda: batch,
            recent=lambda number: iter([batch]),
        )
    )
    with arithmetic(training.config.precision, training.device):
        loss = training.learner.gradients(batch)
    return group.gradients_EP[0].to(group.values_EP.dtype, copy=True), loss.item()

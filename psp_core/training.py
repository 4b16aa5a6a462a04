"""Training a pack of trials through its stream, and measuring R[i, j] on the way."""

import os
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from psp_core.contexts import get_context
from psp_core.datasets import Dataset, load_dataset
from psp_core.models import SuperposedMLP, mlp
from psp_core.optimisers import OPTIMISERS, Optimiser
from psp_core.packing import Pack
from psp_core.randomness import generator
from psp_core.streams import STREAMS, Stream
from psp_core.trial import TrialConfig

# E members, K tasks, S steps, B batch, N samples, I inputs, O outputs

EVAL_CHUNK = 2000  # samples of all members together in one forward pass: small enough for caches


@dataclass
class TrialResult:
    """What one trial measured.

    Attributes:
        config: what was trained.
        accuracy: R (K, K), float64: R[i, j] is the accuracy (a fraction) on task j after training
            through task i; NaN where j > i or not measured.
        loss: the same for the mean cross-entropy (nats).
        num_samples: test samples behind each entry, int64, 0 where not measured.
        diverged_at: the step at which a loss or parameter was first seen not finite, else None;
            nothing is measured from that task on.
        num_params: real numbers that are trained.
        context_bytes_once: what all tasks' contexts share.
        context_bytes_per_task: what one more task costs.
        seconds: this trial's share of its pack's time: wall time over the number of members.
    """

    config: TrialConfig
    accuracy: Tensor
    loss: Tensor
    num_samples: Tensor
    diverged_at: int | None
    num_params: int
    context_bytes_once: int
    context_bytes_per_task: int
    seconds: float

    @property
    def final_accuracy(self) -> float:
        """Mean of R[K-1, :], NaN where that was not measured."""
        return self.accuracy[-1].mean().item()


class PackTraining:
    """Trains E trials of one shape together, task after task.

    Args:
        configs: the members' configurations; they may differ in lr, momentum and seed.
        dataset: their data set, on any device.
        device: where to train.

    Raises:
        ValueError: the configurations differ in more than lr, momentum and seed.
    """

    def __init__(self, configs: Sequence[TrialConfig], dataset: Dataset, device: torch.device) -> None:
        """Draw the members' weights, contexts and tasks."""
        self.config = configs[0]
        self.configs = list(configs)
        if any(config.shape != self.config.shape for config in configs):
            raise ValueError("the members of a pack may differ only in lr, momentum and seed; pack them apart.")
        self.device = device
        self.dataset = dataset.to(device)
        self.streams = [_stream(config, dataset) for config in configs]
        models = [_model(config, dataset) for config in configs]
        self.num_params = sum(p.numel() for p in models[0].parameters())
        self.context_bytes_once = models[0].bytes_once()
        self.context_bytes_per_task = models[0].bytes_per_task()
        if self.config.learned_contexts:  # no longer signs or phases: every number counts
            self.context_bytes_per_task = 4 * sum(buffer[0].numel() for buffer in models[0].buffers())
        self.pack = Pack(models, device, learned_contexts=self.config.learned_contexts)
        self.optimiser = self._new_optimiser()
        size = (len(configs), self.config.num_tasks, self.config.num_tasks)
        self.accuracy_EKK = torch.full(size, float("nan"), dtype=torch.float64)
        self.loss_EKK = torch.full(size, float("nan"), dtype=torch.float64)
        self.num_samples_KK = torch.zeros(size[1:], dtype=torch.int64)
        self.diverged_at: list[int | None] = [None] * len(configs)
        self.tasks_seen = 0
        self.seconds = 0.0

    @property
    def done(self) -> bool:
        """Whether all tasks are trained."""
        return self.tasks_seen == self.config.num_tasks

    def train_task(self) -> None:
        """Train the next task and measure what is due after it."""
        start = time.perf_counter()
        losses_ES = self._train(self.tasks_seen)
        self.tasks_seen += 1
        self._note_divergence(losses_ES)
        self._measure()
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)
        self.seconds += time.perf_counter() - start

    def results(self) -> list[TrialResult]:
        """Each member's result so far."""
        return [
            TrialResult(
                config=config,
                accuracy=self.accuracy_EKK[e],
                loss=self.loss_EKK[e],
                num_samples=self.num_samples_KK * self.accuracy_EKK[e].isfinite(),
                diverged_at=self.diverged_at[e],
                num_params=self.num_params,
                context_bytes_once=self.context_bytes_once,
                context_bytes_per_task=self.context_bytes_per_task,
                seconds=self.seconds / len(self.configs),
            )
            for e, config in enumerate(self.configs)
        ]

    def _new_optimiser(self) -> Optimiser:
        return OPTIMISERS[self.config.optimiser](
            torch.tensor([config.lr for config in self.configs], device=self.device),
            torch.tensor([config.momentum for config in self.configs], device=self.device),
        )

    def _describe(self, task: int) -> Tensor:
        return torch.stack([stream.describe(task) for stream in self.streams]).to(self.device)

    def _train(self, task: int) -> Tensor:
        description_E = self._describe(task)
        order = [_batch_order(config, len(self.dataset.train_labels), task) for config in self.configs]
        samples_SEB = torch.stack(order, dim=1).to(self.device)
        of_contexts = self._new_optimiser() if self.config.learned_contexts else None  # none was trained before
        contexts = self.pack.of_task(task)
        losses = []
        for samples_EB in samples_SEB:
            images_EBI = self.streams[0].apply(self.dataset.train_images[samples_EB], description_E)
            x_EBI = self.dataset.normalise(images_EBI)
            labels_EB = self.dataset.train_labels[samples_EB]
            gradients, context_gradients, loss_E = self.pack.gradients(x_EBI, labels_EB, task)
            self.optimiser.step(self.pack.parameters, gradients)
            if of_contexts:
                of_contexts.step(contexts, context_gradients)
            losses.append(loss_E)
        return torch.stack(losses, dim=1)

    def _note_divergence(self, losses_ES: Tensor) -> None:
        first_step = (self.tasks_seen - 1) * self.config.steps_per_task
        finite_ES = losses_ES.isfinite()
        for e, parameters_finite in enumerate(self.pack.finite().tolist()):
            if self.diverged_at[e] is None and not (parameters_finite and finite_ES[e].all()):
                steps_before = int(finite_ES[e].long().cumprod(0).sum())
                self.diverged_at[e] = first_step + min(steps_before, self.config.steps_per_task - 1)

    def _measure(self) -> None:
        row = self.tasks_seen - 1
        whole = self.config.eval_samples is None or self.config.measures_all(self.tasks_seen)
        labels = self.dataset.test_labels
        chosen_N = _test_samples(len(labels), None if whole else self.config.eval_samples).to(self.device)
        lost = torch.tensor([step is not None for step in self.diverged_at])
        for task in self.config.tasks_to_measure(self.tasks_seen):
            accuracy_E, loss_E = self._evaluate(task, chosen_N)
            self.accuracy_EKK[:, row, task] = accuracy_E.cpu().masked_fill(lost, float("nan"))
            self.loss_EKK[:, row, task] = loss_E.cpu().masked_fill(lost, float("nan"))
            self.num_samples_KK[row, task] = len(chosen_N)

    def _evaluate(self, task: int, samples_N: Tensor) -> tuple[Tensor, Tensor]:
        description_E = self._describe(task)
        num_members = len(self.configs)
        correct_E = torch.zeros(num_members, dtype=torch.float64, device=self.device)
        loss_E = torch.zeros_like(correct_E)
        for samples_B in torch.split(samples_N, max(1, EVAL_CHUNK // num_members)):
            images_EBI = self.dataset.test_images[samples_B].expand(num_members, -1, -1)
            x_EBI = self.dataset.normalise(self.streams[0].apply(images_EBI, description_E))
            labels_EB = self.dataset.test_labels[samples_B].expand(num_members, -1)
            logits_EBO = self.pack.logits(x_EBI, task)
            loss_EB = nn.functional.cross_entropy(logits_EBO.mT, labels_EB, reduction="none")
            correct_E += (logits_EBO.argmax(dim=2) == labels_EB).sum(dim=1)
            loss_E += loss_EB.sum(dim=1, dtype=torch.float64)
        return correct_E / len(samples_N), loss_E / len(samples_N)


def train(
    configs: Sequence[TrialConfig],
    *,
    data: str | os.PathLike[str] | None = None,
    device: str = "cpu",
    after_task: Callable[[PackTraining], None] = lambda training: None,
) -> list[TrialResult]:
    """Train a pack of trials to the end.

    Args:
        configs: trials of one shape; they may differ in lr, momentum and seed.
        data: the data sets' folder; see `psp_core.datasets.data_root`.
        device: where to train, `cpu` or `cuda`.
        after_task: called after each task, for progress.

    Raises:
        ValueError: configurations that cannot share a pack, or data that cannot be had.
    """
    training = PackTraining(configs, load_dataset(configs[0].dataset, data), torch.device(device))
    while not training.done:
        training.train_task()
        after_task(training)
    return training.results()


def _model(config: TrialConfig, dataset: Dataset) -> SuperposedMLP:
    return mlp(
        config.width,
        config.depth,
        get_context(config.context),
        in_features=dataset.num_inputs,
        out_features=dataset.num_classes,
        num_tasks=config.num_tasks,
        seed=config.seed,
    )


def _stream(config: TrialConfig, dataset: Dataset) -> Stream:
    return STREAMS[config.stream].for_trial(config, dataset.num_inputs)


def _batch_order(config: TrialConfig, num_samples: int, task: int) -> Tensor:
    """The samples of each step of one task, shape (S, B): epoch after epoch, each shuffled anew.

    Epochs follow one another without a gap, so a batch may hold the end of one and the start of
    the next. Depends on the seed and the task, not on the method.
    """
    rng = generator(config.seed, "batches", task)
    wanted = config.steps_per_task * config.batch_size
    epochs = [torch.randperm(num_samples, generator=rng) for _ in range(-(-wanted // num_samples))]
    return torch.cat(epochs)[:wanted].view(config.steps_per_task, config.batch_size)


def _test_samples(num_test: int, wanted: int | None) -> Tensor:
    """Which test samples to measure on: all of them, or the first of one fixed shuffle.

    The shuffle matters: the first half of MNIST's test set is easier than the second.
    """
    if wanted is None:
        return torch.arange(num_test)
    return torch.randperm(num_test, generator=generator(0, "test samples"))[:wanted]

"""What the steps of a visit read: drawn on the CPU, once for members with one stream, and for a GPU ahead of time."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from psp_core.ahead import drawn_for
from psp_core.datasets.validation import parted
from psp_core.held_out import task_samples
from psp_core.randomness import different, generator
from psp_core.streams import Tasks
from psp_core.trial import Trial

# E members, U different streams of theirs, S steps, B batch, N samples


class Visits:
    """What each visit is to a pack: which samples its batches have, how they are augmented, and what the task is.

    For a GPU the next visit is drawn ahead. Its copy to the device waits in the device's queue for the steps that read
    what the copy replaces.

    Args:
        configs: the members' configurations; what is drawn depends on a member's stream, and on what all have alike.
        tasks: each member's stream of tasks; members may share one.
        labels_N: of the training images, on the CPU.
        device: where steps read.
    """

    def __init__(
        self, configs: Sequence[Trial], tasks: Sequence[Tasks], labels_N: Tensor, device: torch.device
    ) -> None:
        """Draw nothing yet."""
        self._device = device
        streams, stream_of_E = different(tasks)
        self._stream_of_E = torch.tensor(stream_of_E, device=device)
        first = [stream_of_E.index(place) for place in range(len(streams))]
        draw = _Draw([configs[e] for e in first], streams, labels_N)
        self._drawn = drawn_for(device, draw, min(config.num_visits for config in configs))

    def put(
        self, visit: int, samples_SEB: Tensor, descriptions_SE: Tensor, augmentation_SEB3: Tensor, tasks_SEB: Tensor
    ) -> None:
        """Write what a visit is into tensors that steps read.

        Args:
            visit: which.
            samples_SEB: numbers of the training samples of each step's batches.
            descriptions_SE: what the task is, at each step where it changes, else once: (S or 1, E, ...); or what each
                of all tasks is, where a batch has several.
            augmentation_SEB3: what was drawn to augment each sample; empty where nothing is augmented.
            tasks_SEB: each sample's task; empty where a batch has one.
        """
        some = [place for place in (augmentation_SEB3, tasks_SEB) if place.numel()]
        for place, of_streams in zip((samples_SEB, descriptions_SE, *some), self._drawn(visit), strict=True):
            there = of_streams.to(self._device, non_blocking=True)
            torch.index_select(there, 1, self._stream_of_E, out=place)


@dataclass(frozen=True)
class _Draw:
    """Draws what `Visits.put` writes, of each stream.

    Attributes:
        configs: a member of each stream.
        tasks: the streams.
        labels_N: of all training images.
    """

    configs: Sequence[Trial]
    tasks: Sequence[Tasks]
    labels_N: Tensor

    @cached_property
    def trained_N(self) -> Tensor:
        """The training images but for the validation part."""
        return parted(self.labels_N, self.configs[0].dataset.validation)[0]

    def __call__(self, visit: int) -> list[Tensor]:
        """Samples (S, U, B), descriptions (S or 1, U, ...); what augments (S, U, B, 3), tasks (S, U, B), if any."""
        drawn: tuple[list[Tensor], ...] = ([], [], [], [])
        samples, descriptions, augmentations, tasks = drawn
        for config, stream in zip(self.configs, self.tasks, strict=True):
            if config.method.mixes_tasks:
                tasks.append(mixed_tasks(config, visit))
                samples.append(self._mixed(config, stream, visit, tasks[-1]))
                descriptions.append(torch.stack([stream.describe(task) for task in range(config.num_tasks)]))
            else:
                task, steps = visit % config.num_tasks, num_descriptions(config)
                of_task_N = self._samples(stream, task)
                samples.append(of_task_N[batch_order(config, len(of_task_N), visit)])
                descriptions.append(torch.stack([stream.describe(task, step / steps) for step in range(steps)]))
            if config.augmentation.is_any:
                augmentations.append(config.augmentation.draw(config, visit))
        return [torch.stack(of_streams, dim=1) for of_streams in drawn if of_streams]

    def _samples(self, stream: Tasks, task: int) -> Tensor:
        """The numbers of a task's samples."""
        return task_samples(stream, task, self.labels_N, self.trained_N)

    def _mixed(self, config: Trial, stream: Tasks, visit: int, tasks_SB: Tensor) -> Tensor:
        """A sample for each place of each step's batch, of the place's task, (S, B)."""
        samples_SB = torch.empty_like(tasks_SB)
        for task in range(config.num_tasks):
            places_SB, of_task_N = tasks_SB == task, self._samples(stream, task)
            rng = generator(config.seed, "batches", visit, task)
            samples_SB[places_SB] = of_task_N[_epochs(len(of_task_N), int(places_SB.sum()), rng)]
        return samples_SB


def num_descriptions(config: Trial) -> int:
    """How often a task is described: at each step of a continuous stream, else once; or how many tasks are."""
    if config.method.mixes_tasks:
        return config.num_tasks
    return config.steps_per_task if config.stream.is_continuous else 1


def mixed_tasks(config: Trial, visit: int) -> Tensor:
    """The task of each image of each step's batch, all equally likely, (S, B), where batches have several tasks."""
    size = config.steps_per_task, config.batch_size
    return torch.randint(config.num_tasks, size, generator=generator(config.seed, "mixed tasks", visit))


def batch_order(config: Trial, num_samples: int, visit: int) -> Tensor:
    """The places of each step's samples among a task's, shape (S, B): epoch after epoch, each shuffled anew.

    Epochs follow one another without a gap, so a batch may hold the end of one and the start of
    the next. Depends on the seed and on how many tasks came before, not on the method.
    """
    size = config.steps_per_task, config.batch_size
    return _epochs(num_samples, size[0] * size[1], generator(config.seed, "batches", visit)).view(size)


def _epochs(num_samples: int, wanted: int, rng: torch.Generator) -> Tensor:
    """So many places among a task's samples, one shuffled epoch after another."""
    epochs = [torch.randperm(num_samples, generator=rng) for _ in range(-(-wanted // num_samples))]
    return torch.cat(epochs)[:wanted] if epochs else torch.empty(0, dtype=torch.int64)

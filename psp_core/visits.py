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

    def put(self, visit: int, samples_SEB: Tensor, descriptions_SE: Tensor, augmentation_SEB3: Tensor) -> None:
        """Write what a visit is into tensors that steps read.

        Args:
            visit: which.
            samples_SEB: numbers of the training samples of each step's batches.
            descriptions_SE: what the task is, at each step where it changes, else once: (S or 1, E, ...).
            augmentation_SEB3: what was drawn to augment each sample; empty where nothing is augmented.
        """
        places = samples_SEB, descriptions_SE, augmentation_SEB3
        for place, of_streams in zip(places, self._drawn(visit), strict=False):
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
        """Samples (S, U, B), descriptions (S or 1, U, ...); and (S, U, B, 3) where images are augmented."""
        task = visit % self.configs[0].num_tasks
        samples, descriptions, augmentations = [], [], []
        for config, stream in zip(self.configs, self.tasks, strict=True):
            of_task_N = task_samples(stream, task, self.labels_N, self.trained_N)
            samples.append(of_task_N[batch_order(config, len(of_task_N), visit)])
            steps = num_descriptions(config)
            descriptions.append(torch.stack([stream.describe(task, step / steps) for step in range(steps)]))
            if config.augmentation.is_any:
                augmentations.append(config.augmentation.draw(config, visit))
        return [torch.stack(of_streams, dim=1) for of_streams in (samples, descriptions, augmentations) if of_streams]


def num_descriptions(config: Trial) -> int:
    """How often a task is described: at each step of a continuous stream, else once."""
    return config.steps_per_task if config.stream.is_continuous else 1


def batch_order(config: Trial, num_samples: int, visit: int) -> Tensor:
    """The places of each step's samples among a task's, shape (S, B): epoch after epoch, each shuffled anew.

    Epochs follow one another without a gap, so a batch may hold the end of one and the start of
    the next. Depends on the seed and on how many tasks came before, not on the method.
    """
    rng = generator(config.seed, "batches", visit)
    wanted = config.steps_per_task * config.batch_size
    epochs = [torch.randperm(num_samples, generator=rng) for _ in range(-(-wanted // num_samples))]
    return torch.cat(epochs)[:wanted].view(config.steps_per_task, config.batch_size)

"""The images on which tasks are measured: test images, or the validation part of the training images."""

from collections.abc import Sequence

import torch
from torch import Tensor

from psp_core.datasets import Dataset
from psp_core.datasets.validation import parted
from psp_core.randomness import different, generator
from psp_core.streams import Tasks

# E members, U different streams of theirs, T tasks, N samples, B batch, I inputs


class HeldOut:
    """Which images each task is measured on, and what the task makes of them.

    What a task is, and which samples are its own, is found once for all members that share a stream, and kept on the
    device: every task is measured again and again.

    Args:
        tasks: each member's; members of one seed share theirs.
        dataset: on the pack's device.
        samples_N: which of them, in the order in which they are taken; of these, a task that is about some classes
            takes its own.
        most: how many each task takes; None for all.
        batch_size: images that a network sees at once where it is measured alone, about.
        of_training: whether samples are numbers of training images; else of test images.

    Attributes:
        images: those that samples are numbers of.
        labels: theirs.
    """

    def __init__(
        self,
        tasks: Sequence[Tasks],
        dataset: Dataset,
        *,
        samples_N: Tensor,
        most: int | None = None,
        batch_size: int = 1000,
        of_training: bool = False,
    ) -> None:
        """Find nothing yet."""
        self.tasks, self.dataset = tasks, dataset
        self.images = dataset.train_images if of_training else dataset.test_images
        self.labels = dataset.train_labels if of_training else dataset.test_labels
        self.samples_N, self.most, self.batch_size = samples_N, most, batch_size
        self._streams, self._stream_of = different(tasks)
        self._stream_of_E = torch.tensor(self._stream_of, device=samples_N.device)
        self._described: dict[int, Tensor] = {}
        self._samples: dict[tuple[int, int], Tensor] = {}

    @classmethod
    def of(
        cls,
        tasks: Sequence[Tasks],
        dataset: Dataset,
        *,
        most: int | None,
        batch_size: int,
        validation: int | None = None,
    ) -> "HeldOut":
        """The first `most` of the test images, in one fixed shuffle; or all of them, in their own order.

        The shuffle matters: the first half of MNIST's test set is easier than the second.

        Args:
            tasks: as above.
            dataset: as above.
            most: as above.
            batch_size: as above.
            validation: how many training images are the validation part, which is used in place of the test images.
        """
        if validation is not None:
            samples_N = parted(dataset.train_labels, validation)[1].to(dataset.train_labels.device)
            return cls(tasks, dataset, samples_N=samples_N, most=most, batch_size=batch_size, of_training=True)
        num_test = len(dataset.test_labels)
        in_order = torch.arange(num_test)
        samples_N = in_order if most is None else torch.randperm(num_test, generator=generator(0, "test samples"))
        samples_N = samples_N.to(dataset.test_labels.device)
        return cls(tasks, dataset, samples_N=samples_N, most=most, batch_size=batch_size)

    def of_task(self, member: int, task: int) -> Tensor:
        """The numbers of a task's samples."""
        stream = self._stream_of[member]
        if (stream, task) not in self._samples:
            of_task = task_samples(self._streams[stream], task, self.labels, self.samples_N)
            self._samples[stream, task] = of_task[: self.most]
        return self._samples[stream, task]

    def descriptions(self, tasks: Sequence[int]) -> Tensor:
        """What each task is to each member, on the device: (E, T, ...)."""
        of_streams = torch.stack([self._descriptions(task) for task in tasks], dim=1)
        return of_streams.index_select(0, self._stream_of_E)

    def batch(self, member: int, task: int, samples_B: Tensor) -> tuple[Tensor, Tensor]:
        """The task's inputs (B, I), normalised, and labels (B,) of these samples."""
        images_BI, labels_B = self.images[samples_B], self.labels[samples_B]
        stream = self._stream_of[member]
        return _task_batch(self._streams[stream], self._descriptions(task)[stream], self.dataset, images_BI, labels_B)

    def pairs(self, tasks: Sequence[int]) -> list[tuple[int, int]]:
        """Each member with each task, the member first."""
        return [(member, task) for member in range(len(self.tasks)) for task in tasks]

    def _descriptions(self, task: int) -> Tensor:
        """What a task is in each stream, (U, ...)."""
        if task not in self._described:
            described = torch.stack([stream.describe(task) for stream in self._streams])
            self._described[task] = described.to(self.samples_N.device)
        return self._described[task]


def task_batch(tasks: Tasks, task: int, dataset: Dataset, images_BI: Tensor, labels_B: Tensor) -> tuple[Tensor, Tensor]:
    """A task's inputs (B, I), normalised, and labels (B,) for the data set's."""
    return _task_batch(tasks, tasks.describe(task).to(images_BI.device), dataset, images_BI, labels_B)


def task_samples(tasks: Tasks, task: int, labels: Tensor, samples_N: Tensor) -> Tensor:
    """Those of the samples that are of the task's classes."""
    classes = tasks.classes(task)
    return samples_N if classes is None else samples_N[torch.isin(labels[samples_N], classes.to(labels.device))]


def _task_batch(
    tasks: Tasks, description: Tensor, dataset: Dataset, images_BI: Tensor, labels_B: Tensor
) -> tuple[Tensor, Tensor]:
    x_BI = dataset.normalise(tasks.apply(images_BI[None], description[None]))[0]
    return x_BI, tasks.relabel(labels_B[None], description[None])[0]

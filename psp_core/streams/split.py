"""The split stream: every task is about some of the data set's classes and no other task's."""

from typing import TYPE_CHECKING, ClassVar

import torch
from torch import Tensor

from psp_core.datasets import DATASETS
from psp_core.randomness import generator
from psp_core.streams.base import Stream

if TYPE_CHECKING:
    from psp_core.trial import TrialConfig

# E members, B batch, I numbers of an image, c classes of a task


class Split(Stream):
    """Task k has the classes k c to k c + c - 1 of the data set, in its order or in a random one.

    Labels are places in that list, 0 to c - 1, so that all tasks can share one head of c outputs; or, with
    `keep_labels`, the data set's own, and the network has an output for each of its classes.

    Args:
        classes: the data set's classes in the order in which tasks take them, int64.
        classes_per_task: c.
        keep_labels: whether labels stay the data set's.

    Source: paper A, section 4.2.3 and the authors' 20 tasks of 5 classes (papers.md, A7); in random
    order paper B's split CIFAR-100, with its own labels paper B's split MNIST (papers.md, B5).
    """

    name: ClassVar[str] = "split"

    def __init__(self, classes: Tensor, classes_per_task: int, *, keep_labels: bool = False) -> None:
        """Remember all of them."""
        self.in_order = classes
        self.classes_per_task = classes_per_task
        self.keep_labels = keep_labels

    @classmethod
    def for_trial(cls, config: "TrialConfig") -> "Split":
        """The stream of a trial."""
        per_task = config.classes_per_task or cls.num_outputs(config)
        return cls(cls._in_order(config), per_task, keep_labels=config.keep_labels)

    @classmethod
    def _in_order(cls, config: "TrialConfig") -> Tensor:
        num_classes = DATASETS[config.dataset].num_classes
        if config.shuffle_classes:
            return torch.randperm(num_classes, generator=generator(config.seed, "classes"))
        return torch.arange(num_classes)

    @classmethod
    def check(cls, config: "TrialConfig") -> None:
        """Refuse a trial without `classes_per_task`, or with more classes than there are."""
        wanted, there = config.classes_per_task, DATASETS[config.dataset].num_classes
        if wanted is None:
            raise ValueError(
                f"stream={config.stream!r} needs classes_per_task: how many of the {there} classes of "
                f"dataset={config.dataset!r} each task has."
            )
        if wanted * config.num_tasks > there:
            raise ValueError(
                f"num_tasks={config.num_tasks} of classes_per_task={wanted} need {wanted * config.num_tasks} classes; "
                f"dataset={config.dataset!r} has {there}: give fewer of either."
            )

    @classmethod
    def num_outputs(cls, config: "TrialConfig") -> int:
        """The classes of one task, or all of the data set's where tasks keep its labels."""
        assert config.classes_per_task
        return DATASETS[config.dataset].num_classes if config.keep_labels else config.classes_per_task

    def describe(self, task: int, fraction: float = 0.0) -> Tensor:
        """The task's classes, shape (c,)."""
        return self.in_order[task * self.classes_per_task : (task + 1) * self.classes_per_task]

    def classes(self, task: int) -> Tensor:
        """The same."""
        return self.describe(task)

    def apply(self, images_EBI: Tensor, description_E: Tensor) -> Tensor:
        """The images as they are."""
        return images_EBI

    def relabel(self, labels_EB: Tensor, description_E: Tensor) -> Tensor:
        """Each label's place among the task's classes, unless labels are kept; shapes (E, B) and (E, c)."""
        if self.keep_labels:
            return labels_EB
        return (labels_EB[:, :, None] == description_E[:, None, :]).long().argmax(dim=2)

"""The split stream: every task is about some of the data set's classes and no other task's."""

import torch
from torch import Tensor

from psp_core.course import Course
from psp_core.datasets import Data, Sizes
from psp_core.parts import setting
from psp_core.randomness import generator
from psp_core.rules import at_least
from psp_core.streams.base import Stream, Tasks

# E members, B batch, I numbers of an image, c classes of a task


class Split(Stream, name="split"):
    """Every task is about some of the data set's classes and no other task's."""

    classes_per_task: int = setting(
        text="How many of the data set's classes each task has.", rule=at_least(1), column="classes_per_task"
    )
    shuffle: bool = setting(False, "Whether tasks take their classes in a random order.", column="shuffle_classes")
    keep_labels: bool = setting(
        False,
        "Whether labels stay the data set's, so that the network has an output for each of its classes.",
        column="keep_labels",
    )

    @property
    def is_random(self) -> bool:
        """Unless tasks take their classes in the data set's order."""
        return self.shuffle

    def tasks(self, data: Sizes, num_tasks: int, seed: int) -> Tasks:
        """Tasks that take their classes in the data set's order, or in one drawn from the seed."""
        in_order = torch.arange(data.num_classes)
        if self.shuffle:
            in_order = torch.randperm(data.num_classes, generator=generator(seed, "classes"))
        return SplitTasks(in_order, self.classes_per_task, keep_labels=self.keep_labels)

    def num_outputs(self, data: Sizes) -> int:
        """The classes of one task, or all of the data set's where tasks keep its labels."""
        return data.num_classes if self.keep_labels else self.classes_per_task

    def num_classes(self, data: Sizes) -> int:
        """The classes of one task."""
        return self.classes_per_task

    def check(self, trial: Course) -> None:
        """Refuse more classes than there are."""
        super().check(trial)
        data, wanted = trial.of(Data), self.classes_per_task
        there = data.sizes.num_classes
        if wanted * trial.num_tasks > there:
            raise ValueError(
                f"num_tasks={trial.num_tasks} of classes_per_task={wanted} need {wanted * trial.num_tasks} classes; "
                f"dataset={data.name!r} has {there}: give fewer of either."
            )


class SplitTasks(Tasks):
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

    def __init__(self, classes: Tensor, classes_per_task: int, *, keep_labels: bool = False) -> None:
        """Remember all of them."""
        self.in_order = classes
        self.classes_per_task = classes_per_task
        self.keep_labels = keep_labels

    def describe(self, task: int, fraction: float = 0.0) -> Tensor:
        """The task's classes, shape (c,)."""
        return self.in_order[task * self.classes_per_task : (task + 1) * self.classes_per_task]

    def classes(self, task: int) -> Tensor:
        """The same."""
        return self.describe(task)

    def pixels(self, description_E: Tensor, num_inputs: int) -> Tensor:
        """Each its own."""
        return torch.arange(num_inputs, device=description_E.device).expand(len(description_E), -1)

    def apply(self, images_EBI: Tensor, description_E: Tensor) -> Tensor:
        """The images as they are."""
        return images_EBI

    def relabel(self, labels_EB: Tensor, description_E: Tensor) -> Tensor:
        """Each label's place among the task's classes, unless labels are kept; shapes (E, B) and (E, c)."""
        if self.keep_labels:
            return labels_EB
        return (labels_EB[:, :, None] == description_E[:, None, :]).long().argmax(dim=2)

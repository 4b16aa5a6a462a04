"""What a stream is: a way to make an ordered sequence of tasks of a data set."""

from abc import ABC, abstractmethod
from typing import ClassVar

from torch import Tensor

from psp_core.course import Course
from psp_core.datasets import Data, Sizes
from psp_core.parts import Part


class Tasks(ABC):
    """Turns a data set's images and labels into those of task k, in two steps.

    `describe(task)` gives a small tensor that says what the task is, drawn from the stream's seed
    and the task alone. `apply` and `relabel` make the task's images and labels from the data set's.
    The members of a pack each have their own tasks: their descriptions are stacked.
    """

    @abstractmethod
    def describe(self, task: int, fraction: float = 0.0) -> Tensor:
        """What task `task` is, as a tensor on the CPU; the same shape for every task.

        Args:
            task: from 0.
            fraction: how much of the task has passed, in [0, 1); continuous streams alone look at it.
        """

    def pull_back(self, weights_M: Tensor, descriptions_M: Tensor) -> Tensor | None:
        """Weights that see in the data set's images what the given ones see in a task's; None if there are none.

        With them, all tasks are measured on one set of images. Streams whose tasks are linear in
        the pixels and leave their mean alone can say them; others leave this out.

        Args:
            weights_M: first layers of M networks, (M, I, ...).
            descriptions_M: one task for each, as `describe` gives it.
        """
        return None

    @abstractmethod
    def apply(self, images_EBI: Tensor, description_E: Tensor) -> Tensor:
        """The images of one task for each of E members, shape (E, B, I), any dtype."""

    def pixels(self, description_E: Tensor, num_inputs: int) -> Tensor | None:
        """Which number of the data set's image each of a task's image is; None where `apply` does more.

        Indices are int64, (E, I), and -1 is black.
        On a GPU what can be said so is done in the pass that makes a network's inputs.
        """
        return None

    def classes(self, task: int) -> Tensor | None:
        """The data set's classes that task `task` is about, int64; None where the task is about all of them."""
        return None

    def relabel(self, labels_EB: Tensor, description_E: Tensor) -> Tensor:
        """The task's labels for the data set's."""
        return labels_EB


class Stream(Part, family="stream"):
    """How tasks are made of a data set, as a study chooses it.

    Attributes:
        is_continuous: a task changes from step to step.
        is_permuted: tasks mix an image's channels.
        is_nested: task k is the same whatever the number of tasks.
    """

    is_continuous: ClassVar[bool] = False
    is_permuted: ClassVar[bool] = False
    is_nested: ClassVar[bool] = True

    @property
    def is_random(self) -> bool:
        """Whether another seed makes other tasks."""
        return True

    @abstractmethod
    def tasks(self, data: Sizes, num_tasks: int, seed: int) -> Tasks:
        """The tasks of a trial; what is random in them depends on the seed."""

    def num_outputs(self, data: Sizes) -> int:
        """How many labels a task has: a network's outputs, but for superfluous ones."""
        return data.num_classes

    def num_classes(self, data: Sizes) -> int:
        """How many of the data set's classes a task is about."""
        return self.num_outputs(data)

    def check(self, trial: Course) -> None:
        """Refuse what this stream cannot do with the trial's data set and number of tasks.

        Raises:
            ValueError: the message names setting, value, rule and remedy.
        """
        if self.is_permuted and trial.of(Data).normalisation == "by-channel":
            raise ValueError(
                f"normalisation='by-channel' does not apply to stream={self.name!r}, which mixes channels; leave it "
                "out, or use another stream."
            )

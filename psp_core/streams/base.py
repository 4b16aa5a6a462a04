"""What a stream is: an ordered sequence of tasks over a data set."""

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, ClassVar

from torch import Tensor

from psp_core.datasets import DATASETS

if TYPE_CHECKING:
    from psp_core.trial import TrialConfig


class Stream(ABC):
    """Turns a data set's images and labels into those of task k, in two steps.

    `describe(task)` gives a small tensor that says what the task is, drawn from the stream's seed
    and the task alone. `apply` and `relabel` make the task's images and labels from the data set's.
    The members of a pack each have their own stream: their descriptions are stacked.

    To add a stream: a subclass in a file of its own, a line in `psp_core/streams/__init__.py`,
    and a test class that inherits `tests/contracts.py::StreamContract`.
    """

    name: ClassVar[str]
    is_continuous: ClassVar[bool] = False  # a task changes from step to step
    is_permuted: ClassVar[bool] = False  # whether `permute_first` applies
    is_nested: ClassVar[bool] = True  # task k is the same whatever the number of tasks
    has_interpolations: ClassVar[bool] = False  # whether `interpolation` applies

    @classmethod
    @abstractmethod
    def for_trial(cls, config: "TrialConfig") -> "Stream":
        """The stream of a trial; its seed is the trial's."""

    @classmethod
    def check(cls, config: "TrialConfig") -> None:
        """Refuse what this stream cannot do.

        Raises:
            ValueError: a setting does not apply, or asks for more than there is.
        """
        if config.classes_per_task is not None or config.shuffle_classes or config.keep_labels:
            raise ValueError(
                f"classes_per_task={config.classes_per_task}, shuffle_classes={config.shuffle_classes} and "
                f"keep_labels={config.keep_labels}: dividing classes does not apply to stream={config.stream!r}, "
                "whose tasks have them all; leave them out, or use 'split'."
            )

    @classmethod
    def num_outputs(cls, config: "TrialConfig") -> int:
        """How many classes a task has: a network's outputs."""
        return DATASETS[config.dataset].num_classes

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

    def classes(self, task: int) -> Tensor | None:
        """The data set's classes that task `task` is about, int64; None where it is about all of them."""
        return None

    def relabel(self, labels_EB: Tensor, description_E: Tensor) -> Tensor:
        """The task's labels for the data set's."""
        return labels_EB

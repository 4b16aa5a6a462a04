"""What a stream is: an ordered sequence of tasks over a data set."""

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, ClassVar

from torch import Tensor

if TYPE_CHECKING:
    from psp_core.trial import TrialConfig


class Stream(ABC):
    """Turns a data set's images into those of task k, in two steps.

    `describe(task)` gives a small tensor that says what the task is, drawn from the stream's seed
    and the task alone. `apply(images, description)` makes the task's images from the data set's.
    The members of a pack each have their own stream: their descriptions are stacked.

    To add a stream: a subclass in a file of its own, a line in `psp_core/streams/__init__.py`,
    and a test class that inherits `tests/contracts.py::StreamContract`.
    """

    name: ClassVar[str]

    @classmethod
    @abstractmethod
    def for_trial(cls, config: "TrialConfig", num_inputs: int) -> "Stream":
        """The stream of a trial, whose data set has `num_inputs` pixels an image."""

    @abstractmethod
    def describe(self, task: int) -> Tensor:
        """What task `task` is, as a tensor on the CPU; the same shape for every task."""

    @staticmethod
    def pull_back(weights_M: Tensor, descriptions_M: Tensor) -> Tensor | None:
        """Weights that see in the data set's images what the given ones see in a task's; None if there are none.

        With them, all tasks are measured on one set of images. Streams whose tasks are linear in
        the pixels and leave their mean alone can say them; others leave this out.

        Args:
            weights_M: first layers of M networks, (M, I, ...).
            descriptions_M: one task for each, as `describe` gives it.
        """
        return None

    @staticmethod
    @abstractmethod
    def apply(images_EBI: Tensor, description_E: Tensor) -> Tensor:
        """The images of one task for each of E members, shape (E, B, I), any dtype."""

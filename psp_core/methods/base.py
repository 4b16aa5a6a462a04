"""What a method is: the way in which E networks of a pack keep K tasks apart."""

from abc import ABC, abstractmethod
from collections.abc import Collection, Mapping, Sequence
from typing import Any, ClassVar, NamedTuple

import torch
from torch import Tensor

from psp_core.cost import Cost
from psp_core.course import Course
from psp_core.datasets import Data
from psp_core.evaluation import Answerer
from psp_core.groups import Group, Stretch
from psp_core.images import StepBatch
from psp_core.models import LayerSize, Model, NetworkSize
from psp_core.outcome import Outcome
from psp_core.parts import Part
from psp_core.streams import Stream

# E members


class Storage(NamedTuple):
    """What one member's networks take to store.

    Attributes:
        num_params: numbers trained that all tasks share.
        bytes_once: bytes beside them that all tasks share.
        bytes_per_task: bytes that one more task costs.
    """

    num_params: int = 0
    bytes_once: int = 0
    bytes_per_task: int = 0


class Learner(ABC):
    """E members of a pack as they learn by one method: all that training changes.

    The training loop calls `begin_task`; then, for each stretch, `begin`, `gradients` and `stepped` at every step, and
    `settle` and `end`. `gradients` and `stepped` read and write tensors in place, on the device alone: on a GPU they
    are part of a graph.

    Attributes:
        groups: what is trained, the numbers that all tasks share first.
        storage: each member's.
        can_capture: whether a step can be a CUDA graph.
    """

    groups: list[Group]
    storage: list[Storage]
    can_capture: bool = True

    def begin_task(self, task: int) -> None:  # noqa: B027 - a hook
        """Choose which groups the task trains, and how fast."""

    @abstractmethod
    def begin(self, stretch: Stretch) -> Collection[int]:
        """Make a stretch the current one; it may choose which groups are trained, too, of a phase for example.

        Returns:
            The members whose task-specific numbers this call replaced: their optimisers' state is of other numbers.
        """

    @abstractmethod
    def gradients(self, batch: StepBatch) -> Tensor:
        """Each member's mean cross-entropy in nats, (E,); its gradients go into the active groups.

        In training the batch's inputs are still to be made, so that one pass can make and bind them (`Networks`); other
        learners have them made first (`inputs_of`).
        """

    def stepped(self) -> None:  # noqa: B027 - a hook
        """Take note that the optimisers have moved the groups."""

    def settle(self, stretch: Stretch) -> None:  # noqa: B027 - a hook
        """Measure what belongs to the current task and is not trained, with the weights of this moment."""

    @abstractmethod
    def keep(self, stretch: Stretch) -> None:
        """Keep what the current stretch has left behind so far, so that its task can be measured."""

    def end(self, stretch: Stretch) -> None:
        """Keep what the current stretch leaves behind: its training ends."""
        self.keep(stretch)

    @abstractmethod
    def answerer(self, num_begun: int) -> Answerer:
        """What measures the members on tasks, of which `num_begun` were begun."""

    def finite(self) -> Tensor:
        """Which members' trained numbers are all finite, bool (E,)."""
        return torch.stack([group.values_EP.isfinite().all(dim=1) for group in self.groups]).all(0)

    def stop(self, member: int) -> None:  # noqa: B027 - a hook
        """Forget the numbers of a member that diverged, so that NaNs cannot spread; its groups are zeros already."""

    def notes(self, member: int) -> dict[str, float]:
        """The method's outcomes (`Method.outcomes`) of a member."""
        return {}

    @abstractmethod
    def member_state(self, member: int) -> dict[str, Any]:
        """What training has changed of one member so far, between tasks: tensors and plain values."""

    @abstractmethod
    def load_member_state(self, member: int, state: dict[str, Any]) -> None:
        """Go on from what `member_state` gave, here or in a pack whose stream has fewer tasks."""


class Method(Part, family="method"):
    """How networks keep tasks apart, as a study chooses it. All that changes is in the Learner that `start` makes.

    Attributes:
        outcomes: columns of the store that only trials of this method have.
        answers: columns of its measurements beside accuracy, loss and number of samples.
        can_measure_within: whether a task can be measured before its training ends.
        answers_by_batch: whether an answer depends on the batch that an image is in, whatever the model.
    """

    outcomes: ClassVar[Mapping[str, Outcome]] = {}
    answers: ClassVar[Mapping[str, Outcome]] = {}
    can_measure_within: ClassVar[bool] = True
    answers_by_batch: ClassVar[bool] = False

    @property
    def stored_name(self) -> str:
        """What the column `method` of the store says."""
        return self.name

    @property
    def measured(self) -> tuple[str, ...]:
        """The columns of `answers` that this trial has."""
        return tuple(self.answers)

    @property
    def extra_outputs(self) -> int:
        """Outputs beside the classes."""
        return 0

    @property
    def has_nested_contexts(self) -> bool:
        """Whether what a task has of its own is the same whatever the number of tasks."""
        return True

    @property
    def is_nested(self) -> bool:
        """Whether a trial of fewer tasks is the beginning of one of more, as far as the method is concerned."""
        return self.has_nested_contexts

    @property
    def needs_one_length(self) -> bool:
        """Whether the members of a pack must have the same number of tasks, as a learner may take for granted."""
        return True

    @property
    def measures_once(self) -> bool:
        """Whether a task is measured when its training ends and never again, since no other task changes it."""
        return False

    @property
    def mixes_tasks(self) -> bool:
        """Whether each image of a batch is of a task of its own, so that all tasks are trained from the first step on.

        There is then no task that is in training, and the trial is measured at its end alone.
        """
        return False

    def num_stretches(self, trial: Course) -> int:
        """How many stretches each task has."""
        return 1

    def phases(self, trial: Course) -> Sequence[int]:
        """How many steps each phase of a stretch has; they add up to the stretch's."""
        return (trial.steps_per_task // self.num_stretches(trial),)

    def layers(self, trial: Course) -> list[LayerSize]:
        """The network's layers as arithmetic sees them."""
        return trial.of(Model).layer_sizes(network_size(trial, self.extra_outputs))

    def check(self, trial: Course) -> None:
        """Refuse what the method cannot do with the trial's other parts.

        Raises:
            ValueError: the message names settings, values, rule and remedy.
        """

    @abstractmethod
    def start(self, trials: Sequence[Course], device: torch.device) -> Learner:
        """The members of a pack as they begin."""

    @abstractmethod
    def cost(self, trial: Course) -> Cost:
        """What a trial costs: arithmetic and memory."""


def num_outputs(trial: Course) -> int:
    """Classes of one task."""
    return trial.of(Stream).num_outputs(trial.of(Data).sizes)


def network_size(trial: Course, extra_outputs: int) -> NetworkSize:
    """What a trial's network gets and gives."""
    return NetworkSize(
        image_shape=trial.of(Data).sizes.shape,
        out_features=num_outputs(trial) + extra_outputs,
    )

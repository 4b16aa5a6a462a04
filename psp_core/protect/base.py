"""What a protection is: a gradient transformation with a memory, which keeps shared weights from forgetting."""

from abc import abstractmethod
from collections.abc import Sequence
from typing import ClassVar, NamedTuple, Self

from torch import Tensor

from psp_core.course import Course
from psp_core.groups import Group, Stretch
from psp_core.growth import Growth
from psp_core.images import StepBatch
from psp_core.kept import Kind
from psp_core.networks import Networks
from psp_core.parts import Part

# E members, B batch, I inputs, P shared numbers of one member

State = dict[str, Tensor]
"""What a protection remembers, by name, (E, ...) each: saved and loaded with the members, and zeroed for one that
diverged. What steps read lies on the device, what is drawn by on the CPU."""


class Step(NamedTuple):
    """A step of training, when the gradients of its batch are found and the optimiser has not seen them yet.

    Attributes:
        networks: the members, with the rows of the task in training.
        batch: inputs (E, B, I), or of what they are made (`inputs_of`), and labels (E, B), int64.
        number_1: of the step within its task, int64 (1,), on the device: one tensor, whose number moves with the steps.
    """

    networks: Networks
    batch: StepBatch
    number_1: Tensor


class Protection(Part, family="protect"):
    """What keeps the weights that all tasks share from forgetting tasks.

    `begin` is called when a stretch of steps begins; `edit` and `stepped` at every step; `end` when a task's training
    ends. `edit` and `stepped` read and write tensors in place, on the device alone: on a GPU they are part of a graph,
    unless `can_capture` says otherwise.

    Attributes:
        is_any: whether anything is protected.
        numbers: how many numbers it remembers of each shared one while a task trains.
        kept_numbers: how many of these it needs between tasks, to go on learning.
        transient: names in the State of what `begin` makes anew, or what is as `start` made it between tasks: it is not
            saved.
        asks_earlier_tasks: whether it asks networks of earlier tasks while another one trains.
        can_capture: whether `edit` and `stepped` can be part of a CUDA graph.
        kept_as: what `kept_bytes` counts as; `masks` where answers need it too.
    """

    is_any: ClassVar[bool] = True
    numbers: ClassVar[int] = 0
    kept_numbers: ClassVar[int] = 0
    transient: ClassVar[frozenset[str]] = frozenset()
    asks_earlier_tasks: ClassVar[bool] = False
    can_capture: ClassVar[bool] = True
    kept_as: ClassVar[Kind] = "protection"

    @property
    def has_views(self) -> bool:
        """Whether tasks are answered with other weights than those that are trained."""
        return type(self).view is not Protection.view

    def check(self, trial: Course) -> None:
        """Refuse what the protection cannot do with the trial's other parts.

        Raises:
            ValueError: the message names settings, values, rule and remedy.
        """

    def phases(self, num_steps: int) -> Sequence[int]:
        """How many steps each phase of a task has: each is a stretch of its own, with the same contexts.

        Args:
            num_steps: of the task, which the phases add up to.
        """
        return (num_steps,)

    @abstractmethod
    def start(self, peers: Sequence[Self], shared: Group, trials: Sequence[Course]) -> State:
        """What is remembered at first.

        Args:
            peers: each member's protection, this one's settings but for those that members may differ in.
            shared: the numbers to protect, (E, P).
            trials: each member's trial, for its seed and what else the memory depends on.
        """

    def begin(self, state: State, shared: Group, networks: Networks, stretch: Stretch) -> None:
        """Prepare for the steps of a stretch, whose rows the networks have by now: draw, copy, prune."""

    def edit(self, state: State, shared: Group, step: Step) -> None:
        """Change the gradients before the optimiser sees them: add a penalty's or another batch's, mask or project."""

    def stepped(self, state: State, shared: Group, networks: Networks) -> None:
        """Take note of what the optimiser has done, or change it."""

    def end(self, state: State, shared: Group, networks: Networks, stretch: Stretch) -> None:
        """Remember what matters to the task whose training ends with this stretch."""

    def view(self, state: State, task: int, values_EP: Tensor) -> Tensor:
        """The shared numbers with which a task is answered, (E, P), given those that are trained; neither changes."""
        return values_EP

    def kept_bytes(self, trial: Course, num_shared: int) -> Growth:
        """What one member has to keep beside its weights when a task has ended and more are to come, in bytes.

        Importances, anchors, masks, images: all without which the next task could not be trained as it is. What is
        needed within a task alone is not counted.

        Args:
            trial: the member's.
            num_shared: P without padding, how many numbers are protected.
        """
        return Growth(once=4 * self.kept_numbers * num_shared)

    def training_bytes(self, trial: Course, num_shared: int) -> int:
        """Memory of one member's State while a task trains, and of what `edit` and `stepped` need beside it."""
        return 4 * self.numbers * num_shared

    def step_products(self, trial: Course, forward: int, step: int) -> int:
        """Multiplications that it adds to a training step, of each sample of the step's batch.

        Args:
            trial: the member's.
            forward: of one sample's way through the network.
            step: of one sample's part of a step: forwards, and backwards to weights and inputs.
        """
        return 0

    def ending_products(self, trial: Course, forward: int, step: int, outputs: int) -> int:
        """Multiplications when a task's training ends, of all images that are looked at then.

        Args:
            trial: the member's.
            forward: of one image's way through the network.
            step: of one image's part of a step: forwards, and backwards to weights and inputs.
            outputs: of the network.
        """
        return 0

"""What a protection is: a gradient transformation with a memory, which keeps shared weights from forgetting."""

from abc import abstractmethod
from collections.abc import Sequence
from typing import ClassVar, Self

from torch import Tensor

from psp_core.course import Course
from psp_core.groups import Group, Stretch
from psp_core.networks import Networks
from psp_core.parts import Part

# E members, P shared numbers of one member

State = dict[str, Tensor]
"""What a protection remembers, by name, (E, ...) each: saved and loaded with the members, and zeroed for one that
diverged."""


class Protection(Part, family="protect"):
    """What keeps the weights that all tasks share from forgetting tasks.

    `edit` and `stepped` are called at every step, `end` when a task's training ends. The first two read and write
    tensors in place, on the device alone: on a GPU they are part of a graph.

    Attributes:
        is_any: whether anything is protected.
        numbers: how many numbers it remembers of each shared one.
    """

    is_any: ClassVar[bool] = True
    numbers: ClassVar[int] = 0

    def check(self, trial: Course) -> None:
        """Refuse what the protection cannot do with the trial's other parts.

        Raises:
            ValueError: the message names settings, values, rule and remedy.
        """

    @abstractmethod
    def start(self, peers: Sequence[Self], shared: Group) -> State:
        """What is remembered at first.

        Args:
            peers: each member's protection, this one's settings but for those that members may differ in.
            shared: the numbers to protect, (E, P).
        """

    def edit(self, state: State, shared: Group) -> None:
        """Change the gradients before the optimiser sees them: add a penalty's, mask or project."""

    def stepped(self, state: State, shared: Group) -> None:
        """Take note of what the optimiser has done."""

    def end(self, state: State, shared: Group, networks: Networks, stretch: Stretch) -> None:
        """Remember what matters to the task whose training ends with this stretch."""

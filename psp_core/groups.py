"""What a training loop and a method hand each other: groups of numbers that are trained, and stretches of steps."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Literal

import torch
from torch import Tensor

from psp_core.images import Images

# E members, P numbers of a group, B batch, I inputs

Batch = tuple[Tensor, Tensor]
"""Inputs (E, B, I) and labels (E, B)."""


@dataclass(kw_only=True)
class Group:
    """Numbers that one optimiser moves.

    Attributes:
        values_EP: the numbers, a row for each member.
        gradients_EP: where `Learner.gradients` writes their gradients.
        lives: for how long the optimiser remembers: the whole `stream`; one `task`; one `stretch`, unless
            `Learner.begin` says that the numbers are the same; or, for each `row` of its own, whenever it comes back.
        is_active: whether the numbers are trained now. Others have no gradients.
        lrs: each member's learning rate; None for its optimiser's.
        rounded_EP: a copy of the numbers in another type that the optimiser moves with them, if there is one.
    """

    values_EP: Tensor
    gradients_EP: Tensor
    lives: Literal["stream", "task", "stretch", "row"] = "stream"
    is_active: bool = True
    lrs: list[float] | None = None
    rounded_EP: Tensor | None = None

    def round(self) -> None:
        """Have the copy follow the numbers, which something beside the optimiser has moved."""
        if self.rounded_EP is not None:
            self.rounded_EP.copy_(self.values_EP)


@dataclass(frozen=True, kw_only=True)
class Stretch:
    """Steps during which nothing but the trained numbers change: a task, one of its contexts, or between decisions.

    Attributes:
        task: of the stream.
        index: which of the task's stretches.
        count: how many stretches each task has.
        phase: which of the stretch's phases, where it has several: they have one row.
        num_phases: how many phases each stretch has.
        batch_size: B, images of each member's batch.
        first: gives the stretch's first batch, when the stretch begins.
        recent: gives the last so many batches that the task has trained on, oldest first, or as many as there are.
        batch: gives the batch of a step of the task, by its number, the inputs still to be made.
        tasks_SEB: each image's task, at each step, int64, on the device; empty where a batch has one.
        step_1: the number within the task of the step that is taken, int64 (1,), on the device: one tensor for all
            stretches.
    """

    task: int
    index: int
    count: int
    batch_size: int
    first: Callable[[], Batch]
    recent: Callable[[int], Iterator[Batch]]
    phase: int = 0
    num_phases: int = 1
    tasks_SEB: Tensor = field(default_factory=lambda: torch.empty(0, dtype=torch.int64))
    step_1: Tensor = field(default_factory=lambda: torch.zeros(1, dtype=torch.int64))
    batch: Callable[[int], tuple[Images, Tensor]] | None = None

    @property
    def row(self) -> int:
        """Its place among the stretches of all tasks, and in buffers that have a row for each."""
        return self.task * self.count + self.index

    @property
    def is_last(self) -> bool:
        """Whether the task ends with it."""
        return self.index == self.count - 1 and self.phase == self.num_phases - 1

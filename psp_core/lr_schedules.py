"""How the learning rate changes in the course of a task: constant, cosine or in steps, after a linear warm-up."""

import math
from abc import abstractmethod
from typing import Final

import torch
from torch import Tensor

from psp_core.course import Course
from psp_core.parts import Part, Rule, setting
from psp_core.rules import at_least

# S steps of a task, N of them after the warm-up


class LRSchedule(Part, family="lr_schedule"):
    """What the learning rate is multiplied by at each step of a task.

    In each of W warm-up steps the factor grows by 1 / W, from 1 / W to 1; the schedule runs over the steps after them.
    Every task runs through all of it, and so does a task that is trained again. That is also so of what all tasks
    share, though its optimiser's state lives on: its learning rate starts again with each task.

    Source: paper B's code, which has the same for each epoch's learning rate, where this changes it at each step
    (papers.md, B5). There every task has an optimiser of its own, for whatever it trains.
    """

    warmup_steps: int = setting(
        0,
        "Steps at the beginning of each task in which the learning rate rises to its full size; by equal steps.",
        rule=at_least(0),
        column="warmup_steps",
    )

    @abstractmethod
    def after_warmup(self, steps_N: Tensor) -> Tensor:
        """The factor at each of the steps after the warm-up, counted from 0."""

    @property
    def is_constant(self) -> bool:
        """Whether the factor is always 1."""
        return False

    def factors(self, num_steps: int) -> Tensor | None:
        """The factors of a task of so many steps, (S,) float64; None for 1 at all of them."""
        if self.is_constant:
            return None
        steps_S = torch.arange(num_steps, dtype=torch.float64)
        warm_up = (steps_S[: self.warmup_steps] + 1) / max(1, self.warmup_steps)
        return torch.cat([warm_up, self.after_warmup(steps_S[: num_steps - self.warmup_steps])])

    def check(self, trial: Course) -> None:
        """Refuse a schedule that has no room in a task.

        Raises:
            ValueError: the message names setting, value, rule and remedy.
        """
        if self.warmup_steps >= trial.steps_per_task:
            raise ValueError(
                f"warmup_steps={self.warmup_steps} must be below steps_per_task={trial.steps_per_task}: each task "
                "begins with them."
            )


class Constant(LRSchedule, name="constant"):
    """Always the same."""

    @property
    def is_constant(self) -> bool:
        """Where there is no warm-up."""
        return not self.warmup_steps

    def after_warmup(self, steps_N: Tensor) -> Tensor:
        """Ones."""
        return torch.ones_like(steps_N)


class Cosine(LRSchedule, name="cosine"):
    """Falls as half a cosine wave: (1 + cos(pi n / N)) / 2, from 1 to nearly 0."""

    def after_warmup(self, steps_N: Tensor) -> Tensor:
        """The half wave."""
        return (1 + (math.pi * steps_N / len(steps_N)).cos()) / 2


class Multistep(LRSchedule, name="multistep"):
    """Times `lr_decay` after every `lr_decay_steps` steps."""

    every: int = setting(
        text="The steps between two decays, counted from the end of the warm-up.",
        rule=at_least(1),
        column="lr_decay_steps",
    )
    decay: float = setting(
        0.1,
        "The factor of each decay.",
        rule=Rule(lambda value: 0 < value < 1, "must lie in (0, 1), such as 0.1."),
        column="lr_decay",
    )

    def after_warmup(self, steps_N: Tensor) -> Tensor:
        """A staircase."""
        return self.decay ** (steps_N / self.every).floor()

    def check(self, trial: Course) -> None:
        """Refuse a first decay that a task does not reach."""
        super().check(trial)
        after = trial.steps_per_task - self.warmup_steps
        if self.every >= after:
            raise ValueError(
                f"lr_decay_steps={self.every} must be below the {after} steps that a task has after its warm-up; give "
                f"fewer, such as {max(1, after // 3)}."
            )


LR_SCHEDULES: Final[dict[str, type[LRSchedule]]] = LRSchedule.known

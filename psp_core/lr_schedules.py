"""How the learning rate changes in the course of a task: constant, cosine or in steps, after a linear warm-up."""

import math
from collections.abc import Callable
from typing import TYPE_CHECKING, Final

import torch
from torch import Tensor

from psp_core.settings import refuse_chosen

if TYPE_CHECKING:
    from psp_core.trial import TrialConfig

# S steps of a task, N of them after the warm-up

MULTISTEP: Final = "multistep"


def _constant(config: "TrialConfig", steps_N: Tensor) -> Tensor:
    """1."""
    return torch.ones_like(steps_N)


def _cosine(config: "TrialConfig", steps_N: Tensor) -> Tensor:
    """(1 + cos(pi n / N)) / 2: from 1 to nearly 0."""
    return (1 + (math.pi * steps_N / len(steps_N)).cos()) / 2


def _multistep(config: "TrialConfig", steps_N: Tensor) -> Tensor:
    """Times `lr_decay` after every `lr_decay_steps` steps."""
    assert config.lr_decay_steps
    return config.lr_decay ** (steps_N / config.lr_decay_steps).floor()


LR_SCHEDULES: Final[dict[str, Callable[["TrialConfig", Tensor], Tensor]]] = {
    "constant": _constant,
    "cosine": _cosine,
    MULTISTEP: _multistep,
}


def lr_factors(config: "TrialConfig") -> Tensor | None:
    """What a trial's learning rate is multiplied by at each step of a task, (S,) float64; None for 1 at all of them.

    In each of W warm-up steps the factor grows by 1 / W, from 1 / W to 1; the schedule runs over the steps after them.
    Every task runs through all of it, and so does a task that is trained again. That is also so of what all tasks
    share, though its optimiser's state lives on: its learning rate starts again with each task.

    Source: paper B's code, which has the same for each epoch's learning rate, where this changes it at each step
    (papers.md, B5). There every task has an optimiser of its own, for whatever it trains.
    """
    if config.lr_schedule == "constant" and not config.warmup_steps:
        return None
    steps_S = torch.arange(config.steps_per_task, dtype=torch.float64)
    warm_up = (steps_S[: config.warmup_steps] + 1) / max(1, config.warmup_steps)
    after = LR_SCHEDULES[config.lr_schedule](config, steps_S[: config.steps_per_task - config.warmup_steps])
    return torch.cat([warm_up, after])


def check_lr_schedule(config: "TrialConfig") -> None:
    """Refuse a schedule that has no room in a task, and what says more of one that is not chosen.

    Raises:
        ValueError: the message names setting, value, rule and remedy.
    """
    if config.warmup_steps >= config.steps_per_task:
        raise ValueError(
            f"warmup_steps={config.warmup_steps} must be below steps_per_task={config.steps_per_task}: each task "
            "begins with them."
        )
    if config.new_mask_eps is not None:
        refuse_chosen(
            config,
            ("lr_schedule", "warmup_steps"),
            "new_mask_eps, where no one tells training when a task begins",
            "have the tasks told",
        )
    if config.lr_schedule != MULTISTEP:
        refuse_chosen(config, ("lr_decay_steps", "lr_decay"), f"lr_schedule={config.lr_schedule!r}", "use 'multistep'")
        return
    after = config.steps_per_task - config.warmup_steps
    if config.lr_decay_steps is None or config.lr_decay_steps >= after:
        raise ValueError(
            f"lr_decay_steps={config.lr_decay_steps}: lr_schedule='multistep' needs it, and below the {after} "
            f"steps that a task has after its warm-up; give fewer, such as {max(1, after // 3)}."
        )

"""What one trial measured."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from torch import Tensor

from psp_core.measuring import CurvePoint
from psp_core.outcome import Outcome
from psp_core.trial import Trial

# K tasks, V visits (tasks trained, those trained again counted again)

OUTCOMES: Final = {
    "num_params": Outcome(int, "Real numbers that are trained and that all tasks share.", is_large=True),
    "context_bytes_per_task": Outcome(
        int, "Bytes that one more task costs: its contexts or its mask, and what else is its own.", is_large=True
    ),
    "total_bytes": Outcome(int, "Bytes of the weights, and of the contexts or masks of all tasks.", is_large=True),
    "steps_per_second": Outcome(float, "The trial's optimiser steps over `seconds`."),
    "final_accuracy": Outcome(float, "Mean of R[K-1, :], a fraction."),
}
"""Columns of the store's `trials` that training finds out, whatever the method."""

_ANSWERED: Final = {
    "accuracy": Outcome(float, "A fraction."),
    "loss": Outcome(float, "Mean cross-entropy in nats."),
    "num_samples": Outcome(int, "Test samples behind both, or validation samples: see `eval_on`."),
}
EVALS: Final = {
    "tasks_seen": Outcome(int, "1..K; of a stream with cycles 1..K * num_cycles."),
    "task": Outcome(int, "0..K-1."),
    **_ANSWERED,
    "step": Outcome(int, "Optimiser steps taken by then.", is_large=True),
}
"""Columns of the store's `evals`, beside the trial and what its method adds."""

CURVES: Final = {
    "step": Outcome(int, "Optimiser steps taken by then, of the whole trial.", is_large=True),
    "task": Outcome(int, "0..K-1."),
    **_ANSWERED,
    "train_loss": Outcome(
        float,
        "Mean cross-entropy in nats of the training batches since the measurement before, or since their task began; "
        "whichever `task` the row is about.",
    ),
}
"""Columns of the store's `curves`, likewise."""


@dataclass
class TrialResult:
    """What one trial measured.

    Attributes:
        config: what was trained.
        accuracy: R (V, K), float64: R[i, j] is the accuracy (a fraction) on task j after i + 1 tasks
            were trained; NaN where task j was not among them, or not measured. V = K but for streams
            that go through their tasks more than once.
        loss: the same for the mean cross-entropy (nats).
        num_samples: samples behind each entry, int64, 0 where not measured.
        answers: what the method measures beside these, by the column of the store, such as `inferred`: (V, K), NaN
            where not measured (`psp_core.methods.base.Method.answers`).
        curve: what `eval_every` had measured, in the order of steps.
        diverged_at: the step at which a loss or parameter was first seen not finite, else None;
            nothing is measured from that task on.
        num_params: real numbers that are trained and that all tasks share.
        context_bytes_once: what all tasks' contexts share.
        context_bytes_per_task: what one more task costs.
        notes: Method-specific results by column of the trial store, such as `num_masks`.
        seconds: this trial's share of its pack's time: wall time over the number of members.
    """

    config: Trial
    accuracy: Tensor
    loss: Tensor
    num_samples: Tensor
    answers: Mapping[str, Tensor]
    curve: list[CurvePoint]
    diverged_at: int | None
    num_params: int
    context_bytes_once: int
    context_bytes_per_task: int
    notes: dict[str, float]
    seconds: float

    def outcomes(self) -> dict[str, object]:
        """The columns of the store's `trials` that training found out."""
        of_tasks = self.config.num_tasks * self.context_bytes_per_task
        return {
            "num_params": self.num_params,
            "context_bytes_per_task": self.context_bytes_per_task,
            "total_bytes": 4 * self.num_params + self.context_bytes_once + of_tasks,
            **self.notes,
            "steps_per_second": self.config.num_steps / self.seconds,
            "final_accuracy": None if self.diverged_at is not None else self.final_accuracy,
        }

    def measurements(self) -> dict[str, list[dict[str, object]]]:
        """Rows of the store's tables, by table; see `EVALS` and `CURVES`."""
        tables = {"accuracy": self.accuracy, "loss": self.loss, "num_samples": self.num_samples, **self.answers}
        evals: list[dict[str, object]] = [
            {"tasks_seen": row + 1, "task": task}
            | {name: _stored(table[row, task].item()) for name, table in tables.items()}
            | {"step": (row + 1) * self.config.steps_per_task}
            for row, task in self.accuracy.isfinite().nonzero().tolist()
        ]
        curves: list[dict[str, object]] = [
            {"step": step, "task": task} | {name: _stored(value) for name, value in measured.items()}
            for step, task, measured in self.curve
        ]
        return {"evals": evals, "curves": curves}

    @property
    def final_accuracy(self) -> float:
        """Mean of R[V-1, :], NaN where that was not measured."""
        return self.accuracy[-1].mean().item()


def _stored(value: float) -> float | None:
    return None if math.isnan(value) else value

"""What one trial measured."""

from dataclasses import dataclass

from torch import Tensor

from psp_core.measuring import CurvePoint
from psp_core.trial import TrialConfig

# K tasks, V visits (tasks trained, those trained again counted again)


@dataclass
class TrialResult:
    """What one trial measured.

    Attributes:
        config: what was trained.
        accuracy: R (V, K), float64: R[i, j] is the accuracy (a fraction) on task j after i + 1 tasks
            were trained; NaN where task j was not among them, or not measured. V = K but for streams
            that go through their tasks more than once.
        loss: the same for the mean cross-entropy (nats).
        num_samples: test samples behind each entry, int64, 0 where not measured.
        inferred: where tasks are inferred, in what share of batches rightly; accuracy counts all others as
            wrong, unless labels are shared. Where masks are recovered, whether they are nearest to the task's own.
            NaN elsewhere.
        mask_agreement: where masks are recovered, in what share of entries they are the task's own. NaN elsewhere.
        curve: what `eval_every` had measured, in the order of steps.
        diverged_at: the step at which a loss or parameter was first seen not finite, else None;
            nothing is measured from that task on.
        num_params: real numbers that are trained and that all tasks share.
        context_bytes_once: what all tasks' contexts share.
        context_bytes_per_task: what one more task costs.
        notes: what else the method knows of its own, by the trial store's column.
        seconds: this trial's share of its pack's time: wall time over the number of members.
    """

    config: TrialConfig
    accuracy: Tensor
    loss: Tensor
    num_samples: Tensor
    inferred: Tensor
    mask_agreement: Tensor
    curve: list[CurvePoint]
    diverged_at: int | None
    num_params: int
    context_bytes_once: int
    context_bytes_per_task: int
    notes: dict[str, float]
    seconds: float

    @property
    def final_accuracy(self) -> float:
        """Mean of R[V-1, :], NaN where that was not measured."""
        return self.accuracy[-1].mean().item()

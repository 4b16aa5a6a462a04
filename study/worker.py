"""What a worker does with one pack: train it task by task, then put it into the store. No Ray here."""

import traceback
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import torch

from psp_core.datasets import load_dataset
from psp_core.messages import one_line
from psp_core.training import PackTraining, TrialResult
from psp_core.trial import TrialConfig
from study.plan import Pack, trial_id
from study.store import Row, TrialStore

# E members, K tasks


@dataclass(frozen=True, kw_only=True)
class Job:
    """A pack and where its data and its results are; everything a worker process needs."""

    study: str
    pack: Pack
    store: str
    data: str


class PackRun:
    """One pack on its way; every `step` trains one task.

    An exception is recorded in the store as the pack's failure and ends the run; it is not raised,
    so that one bad pack costs the study nothing else.
    """

    def __init__(self, job: Job, device: str = "cpu") -> None:
        """Remember the job; the first step does the rest."""
        self.job = job
        self.store = TrialStore(job.store)
        self.device = torch.device(device)
        self.training: PackTraining | None = None

    def step(self) -> dict[str, Any]:
        """Train the next task; scalars about the pack so far, `done` once it is in the store."""
        try:
            return self._step()
        except Exception as error:
            summary = f"{type(error).__name__}: {one_line(error)}"
            record_failure(self.job, f"{summary}\n{traceback.format_exc(limit=-4)}")
            return {"tasks_seen": 0, "done": True, "failed": True, "diverged": 0, "accuracy": float("nan")}

    def _step(self) -> dict[str, Any]:
        trials = self.job.pack.trials
        if self.training is None:
            dataset = load_dataset(trials[0].dataset, self.job.data)
            self._note_progress(0)
            self.training = PackTraining(trials, dataset, self.device)
        self.training.train_task()
        results = self.training.results()
        if self.training.done:
            rows = [_trial_row(self.job, result, _device_name(self.device)) for result in results]
            evals = [row for result in results for row in _eval_rows(result)]
            self.store.write_pack(self.job.pack.id, rows, evals)
            self.store.forget_progress(self.job.pack.id)
        else:
            self._note_progress(self.training.tasks_seen)
        return {
            "tasks_seen": self.training.tasks_seen,
            "done": self.training.done,
            "failed": False,
            "diverged": sum(result.diverged_at is not None for result in results),
            "accuracy": _best_mean_accuracy(results, self.training.tasks_seen),
        }

    def _note_progress(self, tasks_seen: int) -> None:
        ids = [trial_id(trial) for trial in self.job.pack.trials]
        self.store.note_progress(self.job.pack.id, ids, tasks_seen)


def record_failure(job: Job, error: str) -> None:
    """Store every trial of a pack as failed, with the error."""
    rows = [_row(job, trial, status="failed", error=error) for trial in job.pack.trials]
    store = TrialStore(job.store)
    store.write_pack(job.pack.id, rows, [])
    store.forget_progress(job.pack.id)


def _trial_row(job: Job, result: TrialResult, device: str) -> Row:
    diverged = result.diverged_at is not None
    config = result.config
    return _row(
        job,
        config,
        status="diverged" if diverged else "ok",
        error=f"loss or weights not finite at step {result.diverged_at}" if diverged else None,
        device=device,
        num_params=result.num_params,
        context_bytes_per_task=result.context_bytes_per_task,
        total_bytes=4 * result.num_params
        + result.context_bytes_once
        + config.num_tasks * result.context_bytes_per_task,
        seconds=result.seconds,
        steps_per_second=config.num_steps / result.seconds,
        final_accuracy=None if diverged else result.final_accuracy,
    )


def _row(job: Job, trial: TrialConfig, **outcome: object) -> Row:
    settings: Mapping[str, object] = asdict(trial)
    return {
        "trial_id": trial_id(trial),
        "study": job.study,
        "method": trial.method,
        **settings,
        **outcome,
    }


def _device_name(device: torch.device) -> str:
    return torch.cuda.get_device_name(device) if device.type == "cuda" else "cpu"


def _eval_rows(result: TrialResult) -> Iterator[Row]:
    name = trial_id(result.config)
    for row, task in result.accuracy.isfinite().nonzero().tolist():
        yield {
            "trial_id": name,
            "tasks_seen": row + 1,
            "task": task,
            "accuracy": result.accuracy[row, task].item(),
            "loss": result.loss[row, task].item(),
            "num_samples": int(result.num_samples[row, task]),
        }


def _best_mean_accuracy(results: Sequence[TrialResult], tasks_seen: int) -> float:
    """The best member's mean accuracy over the tasks measured last; NaN where all diverged."""
    means = [result.accuracy[tasks_seen - 1].nanmean().item() for result in results]
    return max((mean for mean in means if mean == mean), default=float("nan"))

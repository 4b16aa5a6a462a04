"""What a worker does with one pack: train it task by task, then put it into the store. No Ray here."""

import contextlib
import io
import math
import time
import traceback
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import Any, Final

import torch

from psp_core.datasets import Dataset
from psp_core.messages import one_line, plural
from psp_core.result import TrialResult
from psp_core.retrieval import Retrieval, RetrievalConfig, RetrievalResult
from psp_core.training import PackTraining
from psp_core.trial import TrialConfig
from study.files import FinalStorageError, StorageError
from study.plan import Pack, trial_id
from study.spec import Trial
from study.store import Row, TrialStore

# E members, K tasks

NOTE_SECONDS: Final = 2.0  # between two notes of progress: an object store takes its time for each


@dataclass(frozen=True, kw_only=True)
class Job:
    """A pack and where its results go; with its data set, everything a worker process needs.

    Attributes:
        study: its name, for the store.
        pack: what to train.
        store: where to, as `TrialStore.uri`.
        checkpoint_seconds: how long to train, at least, between two checkpoints.
        time_limit: seconds of training after which the pack's trials fail; checked after each task.
        keep_state: whether each trial's state at its end is kept, for one of more tasks to go on from.
    """

    study: str
    pack: Pack
    store: str
    checkpoint_seconds: float = 10.0
    time_limit: float | None = None
    keep_state: bool = False


class PackRun:
    """One pack on its way; every `step` trains one task.

    A pack for which the device has too little memory is halved, and its halves are trained one after
    the other. Any other exception is recorded in the store as the failure of what was being trained,
    and ends the run; it is not raised, so that one bad pack costs the study nothing else. Only what
    makes the process useless for other packs, a lost CUDA device, is raised.
    """

    def __init__(self, job: Job, dataset: Dataset | None, device: str = "cpu") -> None:
        """Remember the job, and the data set that it needs, if any; the first step does the rest."""
        self.job = job
        self.dataset = dataset
        self.store = TrialStore(job.store, reached=True)
        self.device = torch.device(device)
        self.left = [job.pack]  # the pack, or what is left of its pieces: the first is being trained
        self.training: PackTraining | Retrieval | None = None
        self.results: list[TrialResult | RetrievalResult] = []
        self.pieces_done: list[str] = []
        self.kept = 0.0  # how much of the pack its newest checkpoint holds
        self.last_checkpoint = self.last_note = time.monotonic()

    def step(self) -> dict[str, Any]:
        """Train the next task.

        Returns:
            Scalars about the pack so far; `done` once it is in the store, or `refused`: what a storage says that
            will never take it.

        Raises:
            StorageError: nothing can be recorded where nothing can be written; the pack may be tried again.
        """
        try:
            return self._train_next()
        except FinalStorageError as error:
            return {**self._report(failed=True), "done": True, "refused": str(error)}

    def _train_next(self) -> dict[str, Any]:
        too_large = ""
        try:
            self._step()
        except StorageError:
            raise  # Ray tries the pack again, from its checkpoint
        except torch.OutOfMemoryError as error:
            too_large = one_line(error)
        except Exception as error:
            if self.device.type == "cuda":
                torch.cuda.synchronize()  # raises where the process has lost its device: another must go on
            return self._failed(f"{type(error).__name__}: {one_line(error)}\n{traceback.format_exc(limit=-4)}")
        if too_large:  # by now the error is gone, and with it what its traceback held
            if len(self.left[0].trials) == 1:
                return self._failed(f"one trial alone is too large for {_device_name(self.device)}: {too_large}")
            self._halve()
        return self._report(failed=False)

    def _halve(self) -> None:
        self.left[:1] = self.left[0].halves()
        self.training = None
        if self.device.type == "cuda":
            torch.cuda.empty_cache()

    def _step(self) -> None:
        if self.training is None:
            self.training = self._begin()
            self._note_progress(self.training.tasks_seen)
        self.training.train_task()
        self._note_progress(self.training.tasks_seen)
        if self.job.time_limit and self.training.seconds > self.job.time_limit and not self.training.done:
            raise TimeoutError(
                f"{plural(self.training.tasks_seen, 'task')} took more than {self.job.time_limit:g} seconds"
            )
        if not self.training.done:
            self._checkpoint(self.training)
        else:
            if self.job.keep_state and isinstance(self.training, PackTraining):
                self._keep_states(self.training)
            self.results += self.training.results()
            self.training = None
            self.pieces_done.append(self.left.pop(0).id)
        if not self.left:
            self._store([])

    def _begin(self) -> PackTraining | Retrieval:
        """The pack as it was when its newest readable checkpoint was written, or as its trials begin."""
        for content in self.store.checkpoints(self.left[0].id):
            training = self._new()
            try:
                training.load_state_dict(self._loaded(content))
            except Exception:  # damaged, or of another version: whatever it is, it is not this pack's state
                continue
            return training
        training = self._new()
        if self.left[0].starts and isinstance(training, PackTraining):
            try:
                training.load_member_states([self._loaded(self.store.state(s.trial_id)) for s in self.left[0].starts])
            except StorageError:
                raise
            except Exception:  # likewise: the trials begin at the beginning, which costs time and nothing else
                return self._new()
        return training

    def _loaded(self, content: bytes | None) -> Any:  # noqa: ANN401 - whatever a file holds
        return torch.load(io.BytesIO(content or b""), map_location=self.device, weights_only=True)

    def _keep_states(self, training: PackTraining) -> None:
        """Keep where each member ended; a storage that refuses costs the state, not the results."""
        for e, config in enumerate(training.configs):
            content = io.BytesIO()
            torch.save(_alone(training.member_state(e)), content)
            with contextlib.suppress(StorageError):
                self.store.keep_state(trial_id(config), content.getvalue())

    def _new(self) -> PackTraining | Retrieval:
        first, *_ = self.left[0].trials
        if isinstance(first, RetrievalConfig):
            return Retrieval(first, self.device)
        assert self.dataset
        return PackTraining([t for t in self.left[0].trials if isinstance(t, TrialConfig)], self.dataset, self.device)

    def _checkpoint(self, training: PackTraining | Retrieval) -> None:
        """Keep the state, if it is time for it; a storage that refuses costs the checkpoint, not the training."""
        if time.monotonic() - self.last_checkpoint >= self.job.checkpoint_seconds:
            self._write_checkpoint(training)

    def _write_checkpoint(self, training: PackTraining | Retrieval) -> None:
        content = io.BytesIO()
        torch.save(training.state_dict(), content)
        with contextlib.suppress(StorageError):
            self.store.write_checkpoint(self.left[0].id, training.tasks_seen, content.getvalue())
            self.kept = self._fraction()
        self.last_checkpoint = time.monotonic()

    def _failed(self, error: str) -> dict[str, Any]:
        trials = [trial for pack in self.left for trial in pack.trials]
        self._store(_failures(self.job, trials, error))
        self.left = []
        return self._report(failed=True)

    def _store(self, failures: list[Row]) -> None:
        device = _device_name(self.device)
        rows, evals, curves, crosstalk = list[Row](), list[Row](), list[Row](), list[Row]()
        for result in self.results:
            if isinstance(result, RetrievalResult):
                rows.append(_row(self.job, result.config, status="ok", device=device, seconds=result.seconds))
                crosstalk += [{"trial_id": trial_id(result.config), **asdict(row)} for row in result.crosstalk]
            else:
                rows.append(_trial_row(self.job, result, device))
                evals += _eval_rows(result)
                curves += _curve_rows(result)
        self.store.write_pack(self.job.pack.id, rows + failures, evals, curves=curves, crosstalk=crosstalk)
        for pack_id in {self.job.pack.id, *self.pieces_done}:
            self.store.forget_progress(pack_id)

    def _report(self, *, failed: bool) -> dict[str, Any]:
        trained = [result for result in self.results if isinstance(result, TrialResult)]
        return {
            "fraction": self._fraction(),
            "kept": self.kept,
            "done": not self.left,
            "refused": "",
            "failed": failed,
            "diverged": sum(result.diverged_at is not None for result in trained),
            "accuracy": max((a for result in trained if (a := result.final_accuracy) == a), default=math.nan),
        }

    def _fraction(self) -> float:
        """How much of the pack is trained."""
        before = self.job.pack.tasks_before
        num_tasks = self.job.pack.trials[0].num_visits - before
        tasks = num_tasks * len(self.results)
        if self.training:
            tasks += max(0, self.training.tasks_seen - before) * len(self.training.configs)
        return tasks / (num_tasks * len(self.job.pack.trials))

    def pause(self) -> None:
        """Keep the state of what is being trained: the run ends here, and another goes on from it."""
        if self.training and self.training.tasks_seen > 0:
            self._write_checkpoint(self.training)

    def _note_progress(self, tasks_seen: int) -> None:
        if tasks_seen and time.monotonic() - self.last_note < NOTE_SECONDS:
            return
        self.last_note = time.monotonic()
        ids = [trial_id(trial) for trial in self.left[0].trials]
        self.store.note_progress(self.job.pack.id, ids, tasks_seen)


def record_failure(job: Job, error: str) -> None:
    """Store every trial of a pack as failed, with the error."""
    store = TrialStore(job.store, reached=True)
    store.write_pack(job.pack.id, _failures(job, job.pack.trials, error), [])
    store.forget_progress(job.pack.id)


def _failures(job: Job, trials: Iterable[Trial], error: str) -> list[Row]:
    return [_row(job, trial, status="failed", error=error) for trial in trials]


def _trial_row(job: Job, result: TrialResult, device: str) -> Row:
    diverged = result.diverged_at is not None
    config = result.config
    of_tasks = config.num_tasks * result.context_bytes_per_task
    total_bytes = 4 * result.num_params + result.context_bytes_once + of_tasks
    return _row(
        job,
        config,
        status="diverged" if diverged else "ok",
        error=f"loss or weights not finite at step {result.diverged_at}" if diverged else None,
        device=device,
        num_params=result.num_params,
        context_bytes_per_task=result.context_bytes_per_task,
        **({"total_bytes": total_bytes} | result.notes),
        seconds=result.seconds,
        steps_per_second=config.num_steps / result.seconds,
        final_accuracy=None if diverged else result.final_accuracy,
    )


def _row(job: Job, trial: Trial, **outcome: object) -> Row:
    settings: Mapping[str, object] = asdict(trial)
    known: dict[str, object] = {}
    if isinstance(trial, TrialConfig):
        known = {"nested_tasks": trial.has_nested_tasks, "nested_contexts": trial.has_nested_contexts}
    return {
        "trial_id": trial_id(trial),
        "study": job.study,
        **settings,
        **known,
        "method": trial.method_name,
        **outcome,
    }


def _alone(state: Any) -> Any:  # noqa: ANN401 - nested dicts and lists
    """A state whose tensors are no parts of larger ones, which would be saved whole."""
    if isinstance(state, torch.Tensor):
        return state.clone()
    if isinstance(state, dict):
        return {key: _alone(value) for key, value in state.items()}
    return [_alone(value) for value in state] if isinstance(state, list) else state


def _number(value: float) -> float | None:
    return None if math.isnan(value) else value


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
            "inferred": _number(result.inferred[row, task].item()),
            "mask_agreement": _number(result.mask_agreement[row, task].item()),
            "step": (row + 1) * result.config.steps_per_task,
        }


def _curve_rows(result: TrialResult) -> Iterator[Row]:
    name = trial_id(result.config)
    for point in result.curve:
        yield {"trial_id": name, **point._asdict(), "inferred": _number(point.inferred)}

"""What a worker does with one pack: train it task by task, then put it into the store. No Ray here."""

import contextlib
import io
import json
import math
import time
import traceback
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any, Final

import torch

from psp_core.datasets import Dataset
from psp_core.experiment import Experiment
from psp_core.experiments import Result, Running, start
from psp_core.messages import one_line, plural
from study.beside import Beside
from study.files import FinalStorageError, StorageError
from study.nested import MEASURED
from study.plan import Pack, trial_id, without
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
        keep_state: whether each trial's state at its end is kept, for one of more tasks to go on from and to be loaded.
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

    Members with fewer tasks than others are stored when these are trained. The others are a pack of their own then, by
    its id and its checkpoints too, as they are for a later run, which finds the first ones done.
    """

    def __init__(self, job: Job, dataset: Dataset | None, device: str = "cpu") -> None:
        """Remember the job, and the data set that it needs, if any; the first step does the rest."""
        self.job = job
        self.dataset = dataset
        self.store = TrialStore(job.store, reached=True)
        self.device = torch.device(device)
        self.left = [job.pack]  # the pack, or what is left of its pieces: the first is being trained
        self.training: Running | None = None
        self.results: list[Result] = []  # to be stored together
        self.stored: list[Result] = []
        self.num_tasks = _num_tasks([job.pack])
        self.tasks_kept = 0  # of what goes on in the next step
        self.pieces_done: list[str] = []
        self.at_first: float | None = None  # how much of the pack an earlier run had trained
        self.kept = 0.0  # how much of the pack its newest checkpoint holds
        self.kept_at: tuple[str, int] | None = None  # of which piece that is, and after how many tasks
        self.last_checkpoint = self.last_note = time.monotonic()
        self.checkpoints, self.notes = Beside(), Beside()

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
        too_large: str | None = None
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
        if too_large is not None:  # by now the error is gone, and with it what its traceback held
            if len(self.left[0].trials) == 1:
                return self._failed(f"one trial alone is too large for {_device_name(self.device)}: {too_large}")
            self._halve()
        return self._report(failed=False)

    def _halve(self) -> None:
        self.left[:1] = self.left[0].halves()
        self.training, self.tasks_kept = None, 0
        if self.device.type == "cuda":
            torch.cuda.empty_cache()

    def _step(self) -> None:
        if self.training is None:
            self._leave_out_stored()
            self.training = self._begin()
            self.at_first = self._fraction() if self.at_first is None else self.at_first
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
            self._end(self.training)
            self.training = None
        if not self.left:
            self._store([])

    def _leave_out_stored(self) -> None:
        """Leave out members with fewer tasks whose results this pack's worker had stored before it died."""
        if len({trial.num_visits for trial in self.job.pack.trials}) > 1:
            found, _ = self.store.finished()
            stored = {name for name, trial in found.items() if trial.status in MEASURED}
            if left := without(self.left, stored):
                self.left, self.job = left, replace(self.job, pack=without([self.job.pack], stored)[0])

    def _end(self, training: Running) -> None:
        """Take the results of the members whose tasks are all trained; the others go on from their checkpoint."""
        ended = [e for e, trial in enumerate(training.configs) if trial.num_visits == training.tasks_seen]
        others = [e for e in range(len(training.configs)) if e not in ended]
        if self.job.keep_state and self.job.pack.trials[0].num_steps:
            self._keep_states(training, ended)
        results, pack = training.results(), self.left.pop(0)
        self.results += [results[e] for e in ended]
        self.pieces_done.append(pack.id)
        self.tasks_kept = training.tasks_seen if others else 0
        if others:
            self.left.insert(0, pack.of(others))
            self._begin_checkpoint(training, others)
            self._store([])

    def _begin(self) -> Running:
        """The pack as it was when its newest readable checkpoint was written, or as its trials begin."""
        for content in self.store.checkpoints(self.left[0].id):
            training = self._new()
            try:
                training.load_member_states(self._loaded(content)["members"])
            except Exception:  # damaged, or of another version: whatever it is, it is not this pack's state
                continue
            return training
        training = self._new()
        if self.left[0].starts:
            try:
                training.load_member_states([self._loaded(self.store.state(s.trial_id)) for s in self.left[0].starts])
            except StorageError:
                raise
            except Exception:  # likewise: the trials begin at the beginning, which costs time and nothing else
                return self._new()
        return training

    def _loaded(self, content: bytes | None) -> Any:  # noqa: ANN401 - whatever a file holds
        return torch.load(io.BytesIO(content or b""), map_location=self.device, weights_only=True)

    def _keep_states(self, training: Running, members: Iterable[int]) -> None:
        """Keep where these ended; a storage that refuses costs the state, not the results."""
        for e in members:
            content, trial = io.BytesIO(), training.configs[e]
            settings = {"kind": trial.kind, **trial.columns()}
            torch.save({**_copied(training.member_state(e)), "trial": settings}, content)
            with contextlib.suppress(StorageError):
                self.store.keep_state(trial_id(trial), content.getvalue())

    def _new(self) -> Running:
        return start(self.left[0].trials, self.dataset, self.device)

    def _checkpoint(self, training: Running) -> None:
        """Keep the state, if it is time for it and the last one is kept."""
        if not self.checkpoints.is_busy and time.monotonic() - self.last_checkpoint >= self.job.checkpoint_seconds:
            self._begin_checkpoint(training)

    def _begin_checkpoint(self, training: Running, whose: Iterable[int] | None = None) -> None:
        """Keep the state of this moment, of these members or all, while training goes on.

        A storage that refuses costs the checkpoint, not the training.
        """
        members = copied_states(training, whose)
        moment, fraction = self._moment(training), self._fraction()

        def write() -> None:
            content = io.BytesIO()
            torch.save({"members": members}, content)
            with contextlib.suppress(StorageError):
                self.store.write_checkpoint(*moment, content.getvalue())
                self.kept, self.kept_at = fraction, moment
            self.last_checkpoint = time.monotonic()

        self.checkpoints.begin(write)

    def _failed(self, error: str) -> dict[str, Any]:
        trials = [trial for pack in self.left for trial in pack.trials]
        self._store(_failures(self.job, trials, error))
        self.left = []
        return self._report(failed=True)

    def _store(self, failures: list[Row]) -> None:
        """Store what was found so far; what is left is a pack of its own."""
        self.checkpoints.wait()  # what they write is removed below
        self.notes.wait()
        rows = [*(_result_row(self.job, result, _device_name(self.device)) for result in self.results), *failures]
        tables = defaultdict[str, list[Row]](list)
        for result in self.results:
            name = trial_id(result.config)
            for table, measured in result.measurements().items():
                tables[table] += ({"trial_id": name, **row} for row in measured)
        names, whole = {row["trial_id"] for row in rows}, self.job.pack
        done = whole.of([e for e, trial in enumerate(whole.trials) if trial_id(trial) in names])
        self.store.write_pack(done.id, rows, tables.pop("evals", []), others=tables)
        for pack_id in {whole.id, *self.pieces_done}:
            self.store.forget_progress(pack_id)
        self.stored, self.results, self.pieces_done = [*self.stored, *self.results], [], []
        for left in without([whole], names):
            self.job = replace(self.job, pack=left)

    def _report(self, *, failed: bool) -> dict[str, Any]:
        found = [*self.stored, *self.results]
        bests = dict[str, tuple[float, str]]()  # of each curve, with the trial
        for result in found:
            curve = "".join(result.config.curve_of.values())
            if result.final_accuracy > bests.get(curve, (-1.0, ""))[0]:  # false for NaN
                bests[curve] = (result.final_accuracy, trial_id(result.config))
        return {
            "fraction": self._fraction(),
            "at_first": self.at_first or 0.0,
            "kept": self.kept,
            "done": not self.left,
            "refused": "",
            "failed": failed,
            "diverged": sum(result.diverged_at is not None for result in found),
            "accuracy": max((accuracy for accuracy, _ in bests.values()), default=math.nan),
            "bests": bests,
        }

    def _fraction(self) -> float:
        """How much of the pack is trained."""
        left = _num_tasks(self.left)
        if self.left:
            seen = self.training.tasks_seen if self.training else self.tasks_kept
            left -= max(0, seen - self.left[0].tasks_before) * len(self.left[0].trials)
        return (self.num_tasks - left) / self.num_tasks

    def pause(self) -> None:
        """Keep the state of what is being trained: the run ends here, and another goes on from it."""
        self.checkpoints.wait()
        if self.training and self.training.tasks_seen > 0 and self.kept_at != self._moment(self.training):
            self._begin_checkpoint(self.training)
            self.checkpoints.wait()

    def _moment(self, training: Running) -> tuple[str, int]:
        return self.left[0].id, training.tasks_seen

    def _note_progress(self, tasks_seen: int) -> None:
        if tasks_seen and (self.notes.is_busy or time.monotonic() - self.last_note < NOTE_SECONDS):
            return
        self.last_note = time.monotonic()
        ids = [trial_id(trial) for trial in self.left[0].trials]
        self.notes.begin(lambda: self.store.note_progress(self.job.pack.id, ids, tasks_seen))


def _num_tasks(packs: Iterable[Pack]) -> int:
    """Tasks that all members of these packs have before them."""
    return sum(trial.num_visits - pack.tasks_before for pack in packs for trial in pack.trials)


def record_failure(job: Job, error: str) -> None:
    """Store every trial of a pack as failed, with the error."""
    store = TrialStore(job.store, reached=True)
    store.write_pack(job.pack.id, _failures(job, job.pack.trials, error), [])
    store.forget_progress(job.pack.id)


def _failures(job: Job, trials: Iterable[Experiment], error: str) -> list[Row]:
    return [_row(job, trial, status="failed", error=error) for trial in trials]


def _result_row(job: Job, result: Result, device: str) -> Row:
    diverged = result.diverged_at is not None
    return _row(
        job,
        result.config,
        status="diverged" if diverged else "ok",
        error=f"loss or weights not finite at step {result.diverged_at}" if diverged else None,
        device=device,
        seconds=result.seconds,
        **result.outcomes(),
    )


def _row(job: Job, trial: Experiment, **outcome: object) -> Row:
    return {
        "trial_id": trial_id(trial),
        "study": job.study,
        **trial.row,
        **trial.facts,
        "method": trial.stored_name,
        "curve": "".join(trial.curve_of.values()),
        "curve_of": json.dumps(trial.curve_of, separators=(",", ":")),
        "experiment": json.dumps(trial.setup, sort_keys=True, separators=(",", ":")),
        **outcome,
    }


def copied_states(training: Running, members: Iterable[int] | None = None) -> list[Any]:
    """The states of these members, or of all, in the computer's memory, which later steps do not change."""
    members = range(len(training.configs)) if members is None else members
    return [_copied(training.member_state(e)) for e in members]


def _copied(state: Any) -> Any:  # noqa: ANN401 - nested dicts and lists
    """A copy, whose tensors are no parts of larger ones, which would be saved whole."""
    if isinstance(state, torch.Tensor):
        return state.to("cpu", copy=True)
    if isinstance(state, dict):
        return {key: _copied(value) for key, value in state.items()}
    return type(state)(map(_copied, state)) if isinstance(state, list | tuple) else state


def _device_name(device: torch.device) -> str:
    return torch.cuda.get_device_name(device) if device.type == "cuda" else "cpu"

"""A pack in a worker: interrupted, stopped for its time, and before a storage that refuses."""

import threading
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
import torch

from psp_core.datasets import load_dataset
from psp_core.experiments import Running
from psp_core.retrieval import RetrievalConfig
from study.files import FinalStorageError, StorageError
from study.plan import Pack, make_packs, merge, trial_id, without
from study.store import TrialStore
from study.worker import Job, PackRun
from study.workers import this_machine
from tests.conftest import small_study

DIGITS = load_dataset("digits")


def job_in(folder: Path, **changes: object) -> Job:
    spec = small_study(axes={"context": ["complex"], "width": [8]}, seeds=[0, 1, 2])
    (pack,) = make_packs(merge(spec.with_values(["num_tasks=5"]).trials()), replace(this_machine(), count=1))
    return replace(Job(study="small", pack=pack, store=str(folder), checkpoint_seconds=0), **changes)


def finish(run: PackRun) -> list[dict[str, object]]:
    results = [run.step()]
    while not results[-1]["done"]:
        results.append(run.step())
    return results


def checkpoints(folder: Path) -> list[Path]:
    return sorted(folder.glob("checkpoints/*/*.pt"))


def evals(folder: Path) -> list[dict[str, object]]:
    return pq.read_table(folder / "evals").to_pylist()


@pytest.mark.parametrize("interrupted_after", [1, 2, 4])
def test_an_interrupted_pack_goes_on_and_ends_the_same_to_the_bit(tmp_path: Path, interrupted_after: int) -> None:
    quiet, loud = tmp_path / "quiet", tmp_path / "loud"
    finish(PackRun(job_in(quiet), DIGITS))
    run = PackRun(job_in(loud), DIGITS)
    for _ in range(interrupted_after):
        run.step()
        run.checkpoints.wait()
    assert [path.name for path in checkpoints(loud)] == [f"{interrupted_after:06}.pt"]  # older ones are gone
    again = finish(PackRun(job_in(loud), DIGITS))
    assert len(again) == 5 - interrupted_after
    assert evals(quiet) == evals(loud)
    assert not list(loud.glob("checkpoints/*"))


@pytest.mark.parametrize("damage", [b"", b"nonsense", None])
def test_a_damaged_checkpoint_is_not_used(tmp_path: Path, damage: bytes | None) -> None:
    quiet, loud = tmp_path / "quiet", tmp_path / "loud"
    finish(PackRun(job_in(quiet), DIGITS))
    run = PackRun(job_in(loud), DIGITS)
    run.step()
    run.checkpoints.wait()
    run.step()
    run.checkpoints.wait()
    (path,) = checkpoints(loud)
    path.write_bytes(path.read_bytes()[:-100] if damage is None else damage)
    assert len(finish(PackRun(job_in(loud), DIGITS))) == 5
    assert evals(quiet) == evals(loud)


def test_a_checkpoint_cannot_run_code(tmp_path: Path) -> None:
    import pickle

    class Trap:
        def __reduce__(self) -> tuple[object, ...]:
            return (Path.touch, (tmp_path / "trapped",))

    run = PackRun(job_in(tmp_path), DIGITS)
    run.step()
    run.checkpoints.wait()
    (path,) = checkpoints(tmp_path)
    path.write_bytes(pickle.dumps(Trap()))
    finish(PackRun(job_in(tmp_path), DIGITS))
    assert not (tmp_path / "trapped").exists()


def test_a_checkpoint_is_of_its_moment_though_training_goes_on_while_it_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    quiet, loud, go_on = tmp_path / "quiet", tmp_path / "loud", threading.Event()
    finish(PackRun(job_in(quiet), DIGITS))
    save = torch.save
    with monkeypatch.context() as slow:
        slow.setattr(torch, "save", lambda *arguments: (go_on.wait(), save(*arguments)))
        run = PackRun(job_in(loud), DIGITS)
        reported = [run.step()["kept"] for _ in range(3)]
        assert not checkpoints(loud)
        go_on.set()
        run.checkpoints.wait()
    assert [path.name for path in checkpoints(loud)] == ["000001.pt"]  # no other was due while that one was written
    assert [*reported, run.kept] == [0, 0, 0, pytest.approx(1 / 5)]
    assert len(finish(PackRun(job_in(loud), DIGITS))) == 4
    assert evals(quiet) == evals(loud)


@pytest.mark.parametrize("ending", ["pause", "finish"])
def test_no_pack_ends_before_what_it_writes_is_written(
    tmp_path: Path, ending: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    going_on: list[str] = []
    write = TrialStore.write_checkpoint

    def slow(*arguments: Any) -> None:
        going_on.append("checkpoint")
        time.sleep(0.3)
        write(*arguments)
        going_on.clear()

    monkeypatch.setattr(TrialStore, "write_checkpoint", slow)
    run = PackRun(job_in(tmp_path), DIGITS)
    run.step()
    run.pause() if ending == "pause" else finish(run)
    assert not going_on
    assert len(checkpoints(tmp_path)) == (ending == "pause")


def test_what_cannot_be_saved_fails_the_pack_as_any_other_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*arguments: object) -> None:
        raise TypeError("no such state")

    monkeypatch.setattr(torch, "save", broken)
    assert finish(PackRun(job_in(tmp_path), DIGITS))[-1]["failed"]
    found, _ = TrialStore(str(tmp_path)).finished()
    assert all("TypeError: no such state" in (entry.error or "") for entry in found.values())


def test_checkpoints_wait_for_their_time(tmp_path: Path) -> None:
    run = PackRun(job_in(tmp_path, checkpoint_seconds=1000.0), DIGITS)
    run.step()
    assert not checkpoints(tmp_path)
    run.pause()
    assert len(checkpoints(tmp_path)) == 1


def test_a_pack_beyond_its_time_fails_and_says_so(tmp_path: Path) -> None:
    (result,) = finish(PackRun(job_in(tmp_path, time_limit=1e-9), DIGITS))
    assert result["failed"]
    found, _ = TrialStore(str(tmp_path)).finished()
    assert {entry.status for entry in found.values()} == {"failed"}
    assert all("1 task took more than 1e-09 seconds" in (entry.error or "") for entry in found.values())


def test_a_storage_that_refuses_is_raised_and_nothing_is_lost(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    quiet, loud = tmp_path / "quiet", tmp_path / "loud"
    finish(PackRun(job_in(quiet), DIGITS))
    run = PackRun(job_in(loud), DIGITS)
    for _ in range(4):
        run.step()
        run.checkpoints.wait()
    with monkeypatch.context() as broken:
        broken.setattr("study.files.WAITS", ())
        broken.setattr("study.files.Files._write", _refuse)
        with pytest.raises(StorageError, match="refuses to write evals"):
            run.step()
    assert len(finish(PackRun(job_in(loud), DIGITS))) == 1  # only the last task is trained again
    assert evals(quiet) == evals(loud)


def test_a_checkpoint_that_cannot_be_kept_costs_the_training_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = PackRun(job_in(tmp_path), DIGITS)
    with monkeypatch.context() as broken:
        broken.setattr("study.files.WAITS", ())
        broken.setattr("study.files.Files._write", _refuse)
        run.step()
        run.step()
        run.checkpoints.wait()
    assert not checkpoints(tmp_path)
    finish(run)
    assert len(evals(tmp_path)) == 3 * 15


def _refuse(self: object, name: str, content: object) -> None:
    raise OSError("507 Insufficient Storage")


def test_retrieval_is_stored_in_a_table_of_its_own_and_goes_on_where_it_was(tmp_path: Path) -> None:
    trial = RetrievalConfig(context="complex", width=32, num_tasks=8, num_draws=3)
    quiet, loud = (
        Job(study="r", pack=Pack((trial,)), store=str(tmp_path / name), checkpoint_seconds=0)
        for name in ("quiet", "loud")
    )
    finish(PackRun(quiet, None))
    run = PackRun(loud, None)
    run.step()
    run.checkpoints.wait()
    assert len(checkpoints(tmp_path / "loud")) == 1
    assert len(finish(PackRun(loud, None))) == 2
    tables = [pq.read_table(tmp_path / name / "crosstalk").to_pylist() for name in ("quiet", "loud")]
    assert tables[0] == tables[1]
    assert [(row["trial_id"], row["num_models"]) for row in tables[0]] == [(trial_id(trial), k) for k in (2, 4, 8)]
    (stored,) = pq.read_table(tmp_path / "loud" / "trials").to_pylist()
    assert (stored["method"], stored["status"], stored["num_draws"]) == ("retrieval", "ok", 3)
    assert evals(tmp_path / "loud") == []
    assert not checkpoints(tmp_path / "loud")


def test_a_pack_that_is_paused_just_after_it_was_kept_goes_on_from_there(tmp_path: Path) -> None:
    run = PackRun(job_in(tmp_path), DIGITS)
    run.step()
    run.checkpoints.wait()
    run.step()
    run.checkpoints.wait()
    assert run.kept == pytest.approx(2 / 5)
    (path,) = checkpoints(tmp_path)
    written = path.stat().st_mtime_ns
    run.pause()
    assert path.stat().st_mtime_ns == written  # there is no need to write it again
    assert [path.name for path in checkpoints(tmp_path)] == ["000002.pt"]
    assert len(finish(PackRun(job_in(tmp_path), DIGITS))) == 3


def test_a_full_disk_ends_the_pack_with_its_cause(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Reported, not raised: a pack that is tried again would find it as full."""

    def full(*arguments: object, **tables: object) -> None:
        raise FinalStorageError(f"{tmp_path} refuses to write trials/p: No space left on device")

    monkeypatch.setattr(TrialStore, "write_pack", full)
    *_, last = finish(PackRun(job_in(tmp_path), DIGITS))
    assert last["refused"] == f"{tmp_path} refuses to write trials/p: No space left on device"
    assert last["failed"]
    assert checkpoints(tmp_path)  # it can go on from there


def lengths_job(folder: Path, **changes: object) -> Job:
    """Two trials of two tasks, and one each of four and of six."""
    base = job_in(folder).pack.trials[0].replaced(stream="rotating")
    trials = [base.replaced(num_tasks=number, seed=seed) for number, seed in ((2, 0), (4, 0), (2, 1), (6, 1))]
    return replace(job_in(folder), pack=Pack(tuple(trials)), **changes)


def test_members_with_fewer_tasks_are_stored_when_they_are_done(tmp_path: Path) -> None:
    job, store = lengths_job(tmp_path), TrialStore(str(tmp_path))
    run, ids = PackRun(job, DIGITS), [trial_id(trial) for trial in job.pack.trials]
    stored, fractions = [], []
    while not (report := run.step())["done"]:
        stored.append(set(store.finished()[0]))
        fractions.append(report["fraction"])
    short = {ids[0], ids[2]}
    assert stored == [set(), short, short, {*short, ids[1]}, {*short, ids[1]}]
    assert fractions == [number / 14 for number in (4, 8, 10, 12, 13)]
    assert set(store.finished()[0]) == set(ids)
    assert not list(tmp_path.glob("checkpoints/*"))
    for trial in job.pack.trials:
        finish(PackRun(replace(job, pack=Pack((trial,)), store=str(tmp_path / "alone")), DIGITS))
    mine, theirs = (
        {(row["trial_id"], row["tasks_seen"], row["task"]): row["loss"] for row in evals(folder)}
        for folder in (tmp_path, tmp_path / "alone")
    )
    assert mine == pytest.approx(theirs, rel=1e-3)


@pytest.mark.parametrize("interrupted_after", [1, 2, 3, 4, 5])
def test_a_pack_of_several_lengths_goes_on_wherever_it_is_interrupted(tmp_path: Path, interrupted_after: int) -> None:
    """By the same job, as when a worker dies, and by what a later run leaves of the pack."""
    quiet, loud, later = (tmp_path / name for name in ("quiet", "loud", "later"))
    finish(PackRun(lengths_job(quiet), DIGITS))
    for folder in (loud, later):
        run = PackRun(lengths_job(folder), DIGITS)
        for _ in range(interrupted_after):
            run.step()
        run.pause()
    job, store = lengths_job(later), TrialStore(str(later))
    (left,) = without([job.pack], store.finished()[0])
    store.tidy({left.id})
    for again in (PackRun(lengths_job(loud), DIGITS), PackRun(replace(job, pack=left), DIGITS)):
        assert len(finish(again)) == 6 - interrupted_after
    for folder in (loud, later):
        assert sorted(evals(quiet), key=str) == sorted(evals(folder), key=str)
        assert not list(folder.glob("checkpoints/*"))


def test_a_pack_of_several_lengths_may_be_halved(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    quiet, loud = tmp_path / "quiet", tmp_path / "loud"
    finish(PackRun(lengths_job(quiet), DIGITS))
    run, begin = PackRun(lengths_job(loud), DIGITS), PackRun._begin

    def too_large(run: PackRun) -> Running:
        if len(run.left[0].trials) > 2:
            raise torch.OutOfMemoryError  # without a text: it is no less an error
        return begin(run)

    monkeypatch.setattr(PackRun, "_begin", too_large)
    finish(run)
    assert set(TrialStore(str(loud)).finished()[0]) == set(TrialStore(str(quiet)).finished()[0])
    assert len(evals(quiet)) == len(evals(loud))


def test_what_fails_later_leaves_what_was_stored(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = PackRun(lengths_job(tmp_path), DIGITS)
    run.step()
    run.step()
    monkeypatch.setattr(PackRun, "_begin", lambda run: 1 / 0)
    finish(run)
    found, _ = TrialStore(str(tmp_path)).finished()
    assert {trial.num_tasks: found[trial_id(trial)].status for trial in run.job.pack.trials} == {
        4: "failed",
        6: "failed",
    }
    assert sorted(entry.status for entry in found.values()) == ["failed", "failed", "ok", "ok"]

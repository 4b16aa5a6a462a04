import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pyarrow.fs as pafs
import pyarrow.parquet as pq
import pytest
import torch

from analysis.store import StoreError, read_store
from psp_core.datasets import load_dataset
from psp_core.training import PackTraining
from study.files import Files
from study.plan import make_packs, merge, trial_id
from study.schema import MEASURED, TRIALS
from study.spec import StudyError, StudySpec
from study.store import TrialStore
from study.unfinished import Unfinished, begun
from study.worker import Job, PackRun, record_failure
from tests.conftest import run_here, small_study

ROW = {"trial_id": "a", "study": "small", "status": "ok", "width": 8, "lr": 0.1, "final_accuracy": 0.5}
EVAL = {
    "trial_id": "a",
    "tasks_seen": 1,
    "task": 0,
    "accuracy": 0.5,
    "loss": 1.0,
    "num_samples": 10,
    "inferred": None,
    "mask_agreement": None,
    "step": 5,
}


def test_a_pack_round_trips_with_its_types(tmp_path: Path) -> None:
    store = TrialStore(str(tmp_path / "out"))
    store.write_pack("p", [ROW], [EVAL])
    trials = pq.read_table(tmp_path / "out" / "trials" / "p.parquet")
    evals = pq.read_table(tmp_path / "out" / "evals" / "p.parquet")
    assert trials.schema == TRIALS
    assert evals.schema == MEASURED["evals"]
    assert trials.to_pylist() == [{**dict.fromkeys(TRIALS.names), **ROW}]
    assert evals.to_pylist() == [EVAL]
    assert not list(tmp_path.rglob(".*"))  # nothing half-written stays


def test_curves_have_a_table_of_their_own_which_compaction_keeps(tmp_path: Path) -> None:
    settings = {**small_study().settings, "eval_every": 2}
    spec = small_study(axes={"context": ["none", "binary"]}, settings=settings)
    run_here(spec, tmp_path, max_members=1)
    before = read_store(str(tmp_path))
    written = pq.read_table(tmp_path / "curves" / next((tmp_path / "curves").iterdir()).name)
    assert written.schema == MEASURED["curves"]
    of_trial = written.to_pandas()
    assert of_trial["step"].tolist() == [2, 4, 6, 6, 8, 8, 10, 10, 12, 12, 14, 14]
    assert of_trial["task"].tolist() == [0, 0, 0, 1, 0, 1, 0, 1, 0, 2, 0, 2]
    at_an_end = of_trial.query("step == 10").set_index("task")
    evals = pd.read_parquet(tmp_path / "evals").query("trial_id in @of_trial.trial_id and step == 10").set_index("task")
    assert at_an_end["loss"].equals(evals["loss"])
    assert TrialStore(str(tmp_path)).compact() == (4, 1)
    after = read_store(str(tmp_path))
    keys = ["trial_id", "step", "task"]
    pd.testing.assert_frame_equal(*(f.astype({"trial_id": str}).sort_values(keys, ignore_index=True)
                                    for f in (before.curves, after.curves)))  # fmt: skip
    assert len(after.curves) == 4 * 12


def test_a_uri_is_as_good_as_a_path(tmp_path: Path) -> None:
    store = TrialStore(f"file://{tmp_path}/out")
    store.claim(small_study(), {})
    store.write_pack("p", [ROW], [EVAL])
    assert TrialStore(str(tmp_path / "out")).finished()[0].keys() == {"a"}


def test_an_object_store_gets_each_file_in_one_write(tmp_path: Path) -> None:
    store = TrialStore(str(tmp_path))
    fs, written = pafs.SubTreeFileSystem(str(tmp_path), pafs.LocalFileSystem()), []
    for folder in ("evals", "trials"):
        fs.create_dir(f"out/{folder}")  # an object store has none
    opened = fs.open_output_stream
    store.files._fs = Recorder(fs, lambda path: written.append(path) or opened(path))
    store.files._root = "out"
    store.write_pack("p", [ROW], [EVAL])
    assert written == ["out/evals/p.parquet", "out/trials/p.parquet"]
    assert pq.read_table(tmp_path / "out" / "trials" / "p.parquet").num_rows == 1


class Recorder:
    """A file system whose writes are watched."""

    def __init__(self, fs: pafs.FileSystem, open_output_stream: Callable[[str], object]) -> None:
        self.fs, self.open_output_stream = fs, open_output_stream

    def __getattr__(self, name: str) -> object:
        return getattr(self.fs, name)


def test_progress_that_cannot_be_told_does_not_harm_the_pack(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*arguments: object) -> None:
        raise OSError("no space left on device")

    write = Files._write
    monkeypatch.setattr(
        Files, "_write", lambda files, name, content: (full if "progress" in name else write)(files, name, content)
    )
    store = run_here(small_study(), tmp_path / "out")
    assert {entry.status for entry in store.finished()[0].values()} == {"ok"}


def test_a_whole_run_is_stored_as_the_contract_says(small_store: Path) -> None:
    trials = pq.read_table(small_store / "trials").to_pandas()
    evals = pq.read_table(small_store / "evals").to_pandas()
    planned = {trial_id(trial) for trial in merge(small_study().trials())}
    assert set(trials["trial_id"]) == planned
    assert (trials["status"] == "ok").all()
    assert set(trials["method"]) == {"standard", "psp"}
    assert len(evals) == 8 * 6  # 3 tasks: 1 + 2 + 3 measurements each
    last = evals[evals["tasks_seen"] == 3].groupby("trial_id")["accuracy"].mean()
    for row in trials.itertuples():
        assert row.final_accuracy == pytest.approx(last[row.trial_id])
        assert row.total_bytes == 4 * row.num_params + 3 * row.context_bytes_per_task
        assert row.steps_per_second == pytest.approx(15 / row.seconds)
    binary = trials[(trials["context"] == "binary") & (trials["width"] == 8)].iloc[0]
    assert binary["num_params"] == 64 * 8 + 8 + 8 * 8 + 8 + 8 * 10 + 10
    assert binary["context_bytes_per_task"] == 8 + 1 + 1
    assert not (small_store / "checkpoints").is_dir() or not list((small_store / "checkpoints").iterdir())


def test_a_store_belongs_to_one_study(tmp_path: Path) -> None:
    store = TrialStore(str(tmp_path / "out"))
    store.claim(small_study(), {"torch": "2"})
    store.claim(small_study(seeds=[0, 1, 2]), {})
    assert store.read_study() == small_study(seeds=[0, 1, 2])
    with pytest.raises(StudyError, match="belongs to study 'small', not 'other'"):
        store.claim(small_study(name="other"), {})


def test_a_folder_with_other_files_is_not_taken(tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").write_text("years of work")
    with pytest.raises(StudyError, match=r"holds files but no study\.yaml"):
        TrialStore(str(tmp_path)).claim(small_study(), {})


def test_a_file_is_no_store(tmp_path: Path) -> None:
    (tmp_path / "out").write_text("")
    with pytest.raises(StudyError, match="is a file"):
        TrialStore(str(tmp_path / "out"))


def test_a_truncated_file_is_named_and_the_others_still_count(tmp_path: Path) -> None:
    store = TrialStore(str(tmp_path))
    store.write_pack("p", [ROW], [EVAL])
    store.write_pack("q", [{**ROW, "trial_id": "b"}], [])
    path = tmp_path / "trials" / "p.parquet"
    path.write_bytes(path.read_bytes()[:100])
    found, damaged = store.finished()
    assert found.keys() == {"b"}
    assert len(damaged) == 1
    assert "trials/p.parquet cannot be read" in damaged[0]


def test_text_that_is_no_utf_8_is_named_as_damage(tmp_path: Path) -> None:
    spec = small_study(seeds=[0], axes={"width": [4]})
    for folder in ("trials", "evals"):
        store = run_here(spec, tmp_path / folder)
        (path,) = (tmp_path / folder / folder).iterdir()
        name = trial_id(spec.trials()[0]).encode()
        path.write_bytes(path.read_bytes().replace(name, b"\x80" + name[1:]))
        assert f"{folder}/{path.name} cannot be read" in " ".join(
            store.finished()[1] + read_damage(str(tmp_path / folder))
        )


def read_damage(out: str) -> list[str]:
    try:
        return read_store(out).damaged
    except StoreError as error:
        return [str(error)]


def test_a_pack_whose_evals_were_removed_is_not_there(tmp_path: Path) -> None:
    store = TrialStore(str(tmp_path))
    store.write_pack("p", [ROW], [EVAL])
    (tmp_path / "evals" / "p.parquet").unlink()
    assert store.finished() == ({}, [])


def test_a_trial_that_failed_once_counts_as_what_it_became(tmp_path: Path) -> None:
    store = TrialStore(str(tmp_path))
    for pack, status in [("p", "failed"), ("q", "ok"), ("r", "failed")]:
        store.write_pack(pack, [{**ROW, "status": status}], [])
    assert store.finished()[0]["a"].status == "ok"


def test_progress_shows_until_it_is_forgotten(tmp_path: Path) -> None:
    store = TrialStore(str(tmp_path))
    store.note_progress("p", ["a", "b"], 3)
    assert begun(store.unfinished()) == {"a": 3, "b": 3}
    store.forget_progress("p")
    assert begun(store.unfinished()) == {}


def job_in(tmp_path: Path, **changes: object) -> tuple[Job, TrialStore]:
    spec = small_study(**changes)
    store = TrialStore(str(tmp_path))
    return Job(study="small", pack=make_packs(merge(spec.trials()))[0], store=store.uri), store


def test_a_failing_pack_is_recorded_and_costs_the_others_nothing(tmp_path: Path) -> None:
    job, store = job_in(tmp_path)
    digits = load_dataset("digits")
    unreadable = replace(digits, train_labels=digits.train_labels + 1000)
    result = PackRun(job, unreadable).step()
    assert result["done"]
    assert result["failed"]
    found = store.finished()[0]
    assert {entry.status for entry in found.values()} == {"failed"}
    assert all("RuntimeError" in (entry.error or "") for entry in found.values())
    record_failure(job, "again")
    assert {entry.error for entry in store.finished()[0].values()} == {"again"}


def run_with_room_for(members: int, job: Job, monkeypatch: pytest.MonkeyPatch) -> list[dict[str, object]]:
    """Run a job on a device that only has the memory for packs of so many members."""
    usual = PackTraining.train_task

    def train_task(training: PackTraining) -> None:
        if len(training.configs) > members:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB.")
        usual(training)

    monkeypatch.setattr(PackTraining, "train_task", train_task)
    run, results = PackRun(job, load_dataset("digits")), []
    while not (results and results[-1]["done"]):
        results.append(run.step())
    return results


@pytest.mark.parametrize("members", [1, 2])
def test_a_pack_that_is_too_large_is_halved_and_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, members: int
) -> None:
    job, store = job_in(tmp_path, seeds=[0, 1, 2])
    results = run_with_room_for(members, job, monkeypatch)
    fractions = [result["fraction"] for result in results]
    assert fractions == sorted(fractions)
    assert fractions[-1] == 1
    found = store.finished()[0]
    assert {entry.status for entry in found.values()} == {"ok"}
    assert found.keys() == {trial_id(trial) for trial in job.pack.trials}
    assert [path.stem for path in (tmp_path / "trials").iterdir()] == [job.pack.id]


def test_a_trial_that_is_too_large_alone_fails_and_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    job, store = job_in(tmp_path, seeds=[0, 1])
    assert run_with_room_for(0, job, monkeypatch)[-1]["failed"]
    assert all("too large for cpu" in (entry.error or "") for entry in store.finished()[0].values())


def test_a_diverged_trial_is_recorded_with_its_step(tmp_path: Path) -> None:
    spec = small_study(axes={"lr": [0.01, 1e30], "context": ["binary"]}, seeds=[0], settings=_without_lr())
    store = run_here(spec, tmp_path / "out")
    by_status = {entry.status: entry for entry in store.finished()[0].values()}
    assert by_status.keys() == {"ok", "diverged"}
    assert "not finite at step" in (by_status["diverged"].error or "")
    rows = pq.read_table(tmp_path / "out" / "trials").to_pylist()
    assert [row["final_accuracy"] is None for row in rows if row["status"] == "diverged"] == [True]


def _without_lr() -> dict[str, object]:
    return {"width": 8} | {key: value for key, value in small_study().settings.items() if key != "lr"}


def test_a_compacted_store_says_the_same(tmp_path: Path, small_store: Path) -> None:
    shutil.copytree(small_store, tmp_path / "out")
    store = TrialStore(str(tmp_path / "out"))
    tables = {folder: pq.read_table(tmp_path / "out" / folder).to_pandas() for folder in ("trials", "evals")}
    finished = store.finished()
    num_packs = len(list((tmp_path / "out" / "trials").iterdir()))
    assert store.compact() == (num_packs, 1)
    assert store.finished() == finished
    for folder, keys in (("trials", ["trial_id"]), ("evals", ["trial_id", "tasks_seen", "task"])):
        (path,) = (tmp_path / "out" / folder).iterdir()
        mine, theirs = (
            frame.sort_values(keys).reset_index(drop=True)
            for frame in (pq.read_table(path).to_pandas(), tables[folder])
        )
        pd.testing.assert_frame_equal(mine, theirs)
    assert store.compact() == (1, 1)


def test_a_damaged_store_is_not_compacted(tmp_path: Path, small_store: Path) -> None:
    shutil.copytree(small_store, tmp_path / "out")
    path = next((tmp_path / "out" / "evals").iterdir())
    path.write_bytes(path.read_bytes()[:50])
    names = sorted(file.name for file in (tmp_path / "out").rglob("*.parquet"))
    with pytest.raises(StudyError, match=f"evals/{path.name} cannot be read"):
        TrialStore(str(tmp_path / "out")).compact()
    assert sorted(file.name for file in (tmp_path / "out").rglob("*.parquet")) == names


def test_measurements_of_retrieval_are_compacted_and_checked_as_others(tmp_path: Path) -> None:
    spec = StudySpec.from_mapping(
        {"name": "r", "kind": "retrieval", "seeds": [0, 1], "settings": {"width": 8, "num_tasks": 4, "num_draws": 1}}
    )
    store = run_here(spec, tmp_path / "out")
    before = read_store(str(tmp_path / "out")).crosstalk.sort_values(["trial_id", "num_models"])
    assert len(before) == 2 * 2
    assert store.compact() == (2, 1)
    after = read_store(str(tmp_path / "out")).crosstalk.sort_values(["trial_id", "num_models"])
    pd.testing.assert_frame_equal(before.reset_index(drop=True), after.reset_index(drop=True))
    (path,) = (tmp_path / "out" / "crosstalk").iterdir()
    path.write_bytes(b"junk")
    with pytest.raises(StudyError, match=r"crosstalk/compact-.* cannot be read"):
        store.compact()


@pytest.mark.parametrize("stop_after", range(1, 8))
def test_compaction_that_is_stopped_loses_nothing(
    tmp_path: Path, small_store: Path, stop_after: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Stopped before each of its changes in turn, then read, then done again."""
    shutil.copytree(small_store, tmp_path / "out")
    store = TrialStore(str(tmp_path / "out"))
    finished, evals = store.finished(), read_store(str(small_store)).evals
    changes = iter(range(1000))

    def counted(change: Callable[..., None]) -> Callable[..., None]:
        def apply(*arguments: object) -> None:
            if next(changes) == stop_after:
                raise KeyboardInterrupt
            change(*arguments)

        return apply

    with monkeypatch.context() as watched:
        watched.setattr(Files, "write", counted(Files.write))
        watched.setattr(Files, "delete", counted(Files.delete))
        with pytest.raises(KeyboardInterrupt):
            store.compact()
    for _ in range(2):
        assert store.finished() == finished
        found = read_store(str(tmp_path / "out")).evals
        assert len(found) == len(evals)
        assert found["accuracy"].sum() == pytest.approx(evals["accuracy"].sum())
        store.compact()


def test_a_state_that_is_written_twice_is_kept(tmp_path: Path) -> None:
    """Of a pack that is stopped just after it was kept."""
    store = TrialStore(str(tmp_path))
    for tasks_seen, content in [(1, b"first"), (2, b"second"), (2, b"again")]:
        store.write_checkpoint("p", tasks_seen, content)
    assert list(store.checkpoints("p")) == [b"again"]


def test_a_run_that_begins_takes_no_pack_for_begun_and_keeps_its_state(tmp_path: Path) -> None:
    store = TrialStore(str(tmp_path))
    store.note_progress("p", ["a"], 2)
    store.write_checkpoint("p", 2, b"state")
    store.begin_again()
    assert begun(store.unfinished()) == {}
    assert list(store.checkpoints("p")) == [b"state"]
    assert store.unfinished() == [Unfinished(trial_ids=("a",), tasks_seen=2, tasks_kept=2, is_waiting=True)]
    store.note_progress("p", ["a"], 3)
    assert begun(store.unfinished()) == {"a": 3}

"""Trials are dropped from a store, and nothing else is."""

import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pandas as pd
import pyarrow.parquet as pq
import pytest
import yaml

from analysis.plot import plot_store
from analysis.store import read_measurements
from study.removal import Condition, remove, rows_where
from study.spec import StudyError
from study.standing import standing
from study.store import TrialStore
from tests.conftest import small_study
from tests.study.test_tuning import spec_of, train

ROW = {"trial_id": "a", "status": "ok", "context": "none", "width": 8, "lr": 0.1, "error": None, "permute_first": True}


@pytest.fixture
def out(small_store: Path, tmp_path: Path) -> Path:
    """A copy of a store of two contexts, two widths and two seeds, in packs of two trials."""
    return shutil.copytree(small_store, tmp_path / "copy")


@pytest.mark.parametrize(
    ("text", "holds"),
    [
        ("context=none", True),
        ("context = binary , none", False),  # a value may begin with a space
        ("context=binary,none", True),
        ("context!=binary", True),
        ("context!=binary,none", False),
        ("width=8", True),
        ("width>=8", True),
        ("width>8", False),
        ("lr<=0.1", True),
        ("lr<1e-1", False),
        ("permute_first=true", True),
        ("error=null", True),
        ("error!=null", False),
        ("momentum<1", False),  # of which the row says nothing
    ],
)
def test_a_condition_means_what_it_says(text: str, holds: bool) -> None:
    assert Condition.read(text).holds(ROW) == holds


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("context", "must read column=value"),
        ("widht=8", "no column 'widht'; did you mean 'width'"),
        ("width=wide", "width is of type int32, and 'wide' is not"),
        ("permute_first=yes", "permute_first is of type bool"),
        ("milestones=2", "no column 'milestones'"),
    ],
)
def test_a_condition_that_says_nothing_is_refused(text: str, message: str) -> None:
    with pytest.raises(StudyError, match=message):
        Condition.read(text)


def dropped(out: Path, *conditions: str) -> set[str]:
    store = TrialStore(str(out))
    rows, number = rows_where(store, [Condition.read(text) for text in conditions])
    assert number == 8
    remove(store, names := {row["trial_id"] for row in rows})
    return names


def measured(out: Path) -> pd.DataFrame:
    frame = read_measurements(str(out)).sort_values(["trial_id", "tasks_seen", "task"], ignore_index=True)
    return frame.astype({"trial_id": str})


@pytest.mark.parametrize("is_compact", [False, True])
@pytest.mark.parametrize(("conditions", "number"), [(["seed=0"], 4), (["context=binary", "width<8"], 2)])
def test_what_is_not_meant_stays_as_it_was(out: Path, conditions: list[str], number: int, is_compact: bool) -> None:
    if is_compact:
        TrialStore(str(out)).compact()
    before = measured(out)
    gone = dropped(out, *conditions)
    assert len(gone) == number
    pd.testing.assert_frame_equal(measured(out), before[~before["trial_id"].isin(gone)].reset_index(drop=True))
    for folder in ("trials", "evals"):
        assert not gone & set(pq.read_table(out / folder)["trial_id"].to_pylist())
    TrialStore(str(out)).compact()
    pd.testing.assert_frame_equal(measured(out), before[~before["trial_id"].isin(gone)].reset_index(drop=True))


def test_packs_without_trials_go_and_so_do_states(out: Path) -> None:
    store = TrialStore(str(out))
    names = [row["trial_id"] for row in rows_where(store, [])[0]]
    for name in names:
        store.keep_state(name, b"state")
    packs = len(store.files.names("trials"))
    gone = dropped(out, "width=4")
    assert len(store.files.names("trials")) == len(store.files.names("evals")) == packs // 2
    assert store.kept() == set(names) - gone


def test_a_study_that_lost_tuning_trials_can_be_drawn_and_trains_them_again(tmp_path: Path) -> None:
    spec = spec_of(tune={"search": "random", "trials": 2, "seeds": [100], "validation": 100})
    out = tmp_path / "out"
    train(spec, out)
    store = TrialStore(str(out))
    rows, number = rows_where(store, [Condition.read("eval_on=validation"), Condition.read("width=4")])
    assert len(rows) == 4  # two variants, two combinations of settings each
    remove(store, {row["trial_id"] for row in rows})
    assert sum(line.startswith("drew") for line in plot_store(str(out))) > 1
    assert standing(spec, store).count(None) >= 4
    train(spec, out)
    assert len(rows_where(store, [])[0]) == number


def test_a_trial_that_failed_and_was_trained_again_has_not_failed(out: Path) -> None:
    store = TrialStore(str(out))
    (name, *_) = store.files.names("trials")
    row = store.files.parse(f"trials/{name}", pq.read_table).to_pylist()[0]
    for pack in ("0", "z"):  # before and after the other
        store.write_pack(pack, [{**row, "status": "failed", "error": "bad luck"}], [])
    assert rows_where(store, [Condition.read("status=failed")]) == ([], 8)
    (found,) = rows_where(store, [Condition.read(f"trial_id={row['trial_id']}")])[0]
    assert found["status"] == "ok"
    remove(store, {row["trial_id"]})
    assert row["trial_id"] not in store.finished()[0]


def test_rm_says_what_it_would_remove_and_asks(psp, out: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = {path: path.read_bytes() for path in out.rglob("*.parquet")}
    outcome = psp("rm", str(out), "--where", "context=binary", "--where", "width=4")
    assert outcome.code == 1
    assert outcome.out.splitlines() == ["2 of 8 trials:", "  2 of status=ok context=binary width=4"]
    assert "--yes" in outcome.err
    assert {path: path.read_bytes() for path in out.rglob("*.parquet")} == before
    assert psp("rm", str(out), "--where", "width=5").out == "None of 8 trials is meant; nothing to remove.\n"
    assert psp("rm", str(out)).code == 2
    outcome = psp("rm", str(out), "--where", "width=4", "--yes")
    assert outcome.out.endswith("removed 4 trials; 4 left\n")
    study = out.parent / "small.yaml"
    study.write_text(yaml.safe_dump(small_study().to_mapping()))
    assert "8 planned, 4 to do" in psp("plan", str(study), "--out", str(out)).out


def test_nothing_is_removed_while_a_run_writes(psp, out: Path) -> None:
    with subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"]) as alive:
        lease = {"id": "x", "host": os.uname().nodename, "pid": alive.pid, "updated": time.time()}
        (out / "driver.json").write_text(json.dumps(lease))
        outcome = psp("rm", str(out), "--where", "width=4", "--yes")
        alive.kill()
    assert outcome.code == 2
    assert "is being written by another psp run" in outcome.err
    assert len(rows_where(TrialStore(str(out)), [])[0]) == 8

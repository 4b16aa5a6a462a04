"""One wide table of a store, and TensorBoard's runs."""

import csv
import json
import sys
from pathlib import Path

import pandas as pd
import pytest
from typer.testing import CliRunner

from analysis.export import ADDED, wide
from analysis.store import StoreError, read_store
from analysis.tensorboard import export_tensorboard
from psp_core.trial import TrialConfig
from study.cli import app
from study.schema import TRIALS
from study.store import TrialStore
from tests.analysis.rows import row_of

R = [[0.9], [0.8, 0.9], [0.6, 0.7, 0.8]]


@pytest.fixture
def out(tmp_path: Path) -> str:
    """A trial with the accuracies R, and one that failed."""
    trials = [TrialConfig(dataset="digits", num_tasks=3, context=context) for context in ("binary", "none")]
    rows = [{**row_of(trial), "status": status} for trial, status in zip(trials, ("ok", "failed"), strict=True)]
    evals = [
        {"trial_id": rows[0]["trial_id"], "tasks_seen": i + 1, "task": j, "accuracy": value}
        for i, row in enumerate(R)
        for j, value in enumerate(row)
    ]
    TrialStore(str(tmp_path / "out")).write_pack("pack", rows, evals)
    return str(tmp_path / "out")


def test_a_row_has_a_trials_settings_and_results(out: str) -> None:
    table = wide(read_store(out)).set_index("curve")
    assert set(TRIALS.names) <= {*table, "curve"}
    assert table.loc["binary", list(ADDED)].to_dict() == pytest.approx(
        {
            "accuracy": 0.7,
            "forgetting": (0.3 + 0.2) / 2,
            "backward": -(0.3 + 0.2) / 2,
            "forward": -0.05,
            "capacity_at_least": 2,  # 0.85 and 0.7, of which the first is 90% of 0.9
            "capacity_below": 3,
        }
    )
    assert table.loc["none", "status"] == "failed"
    assert table.loc["none", list(ADDED)].isna().all()


def test_the_command_writes_csv_and_parquet_with_the_same_numbers(out: str, tmp_path: Path) -> None:
    done = CliRunner().invoke(app, ["export", out])
    assert done.exit_code == 0
    assert done.output.startswith("2 trials, ")
    with open(f"{out}/export.csv", newline="") as file:
        rows = {row["curve"]: row for row in csv.DictReader(file)}
    assert float(rows["binary"]["accuracy"]) == pytest.approx(0.7)
    assert json.loads(rows["binary"]["milestones"]) == []
    assert rows["none"]["accuracy"] == ""
    place = tmp_path / "one.parquet"
    assert CliRunner().invoke(app, ["export", out, "--parquet", "--to", str(place)]).exit_code == 0
    table = pd.read_parquet(place)
    assert list(table) == list(rows["binary"])
    assert len(read_store(out).trials) == 2  # the export is no part of the store
    with pytest.raises(StoreError, match="Name one of"):
        CliRunner().invoke(app, ["export", out, "--csv", "--parquet"], catch_exceptions=False)


def test_tensorboard_reads_the_course_and_the_settings_of_each_trial(out: str, tmp_path: Path) -> None:
    pytest.importorskip("tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    for _ in range(2):  # the second time writes anew
        assert export_tensorboard(read_store(out), tmp_path / "runs") == 1
    (run,) = (tmp_path / "runs").iterdir()
    assert run.name.startswith("binary-width=256-lr=0.0001-seed=0-")
    events = EventAccumulator(str(run)).Reload()
    course = {tag: [(e.step, e.value) for e in events.Scalars(tag)] for tag in events.Tags()["scalars"]}
    assert course["accuracy/mean"] == [(1, pytest.approx(0.9)), (2, pytest.approx(0.85)), (3, pytest.approx(0.7))]
    assert course["accuracy/task 0"] == [(1, pytest.approx(0.9)), (2, pytest.approx(0.8)), (3, pytest.approx(0.6))]
    assert course["forgetting"] == [(0, pytest.approx(0.25))]
    assert b"binary" in events.SummaryMetadata("_hparams_/session_start_info").plugin_data.content


def test_without_tensorboard_the_command_says_how_to_get_it(out: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "tensorboard.summary.writer.event_file_writer", None)
    with pytest.raises(StoreError, match=r"pip install 'psp-study\[tensorboard\]'"):
        CliRunner().invoke(app, ["export", out, "--tensorboard"], catch_exceptions=False)


def test_the_manual_has_every_column_that_the_export_adds() -> None:
    text = (Path(__file__).parents[2] / "docs" / "figures.md").read_text()
    for name, what in ADDED.items():
        assert f"| `{name}` | {what} |" in text

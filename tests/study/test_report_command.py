"""`psp report`: how far a study is, and the commands that make it again."""

import shutil
from pathlib import Path

import pytest
from typer.testing import CliRunner

from study.cli import app
from study.commands.report import _commands, progress_of


@pytest.fixture
def half(small_store: Path, tmp_path: Path) -> Path:
    """A copy of a store of four packs of two trials, without two of them."""
    out = Path(shutil.copytree(small_store, tmp_path / "half"))
    for file in sorted((out / "trials").iterdir())[::2]:
        file.unlink()
    return out


def test_a_whole_study_has_nothing_missing(small_store: Path) -> None:
    progress = progress_of(str(small_store))
    assert progress
    assert progress.is_whole
    assert (progress.planned, progress.done, progress.failed, progress.running, progress.to_do) == (8, 8, 0, 0, 0)
    assert progress.missing == []


def test_half_a_study_says_what_is_to_do(half: Path) -> None:
    progress = progress_of(str(half))
    assert progress
    assert (progress.planned, progress.done, progress.to_do, progress.others) == (8, 4, 4, 0)
    assert {row["status"] for row in progress.missing} == {"to do"}
    assert all({"curve", "width", "seed"} <= set(row) for row in progress.missing)


def test_the_command_writes_the_page_where_it_says(half: Path, tmp_path: Path) -> None:
    done = CliRunner().invoke(app, ["report", str(half)])
    assert (done.exit_code, done.output) == (0, f"wrote {half}/report.html\n")
    assert "4 of 8 trials" in (half / "report.html").read_text()
    done = CliRunner().invoke(app, ["report", str(half), "--to", str(tmp_path / "elsewhere.html")])
    assert done.output == f"wrote {tmp_path}/elsewhere.html\n"


def test_a_store_whose_study_is_not_readable_is_shown_all_the_same(half: Path) -> None:
    (half / "study.yaml").write_text("name: [")
    assert progress_of(str(half)) is None
    assert CliRunner().invoke(app, ["report", str(half)]).exit_code == 0


def test_commands_are_the_study_and_what_was_run_beside_it() -> None:
    assert _commands("s", []) == ["psp run study.yaml --out results/s", "psp report results/s"]
    assert _commands("s", [["lr=0.1"], []]) == [
        "psp run study.yaml --out results/s",
        "psp run study.yaml --out results/s --set lr=0.1",
        "psp report results/s",
    ]
    assert _commands("s", [["context=none, binary"]])[0].endswith("--set 'context=none, binary'")

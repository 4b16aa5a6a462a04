"""What is read of a store: every trial and every measurement once."""

import re
import shutil
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

from analysis.store import StoreError, read_measurements, read_store
from study.store import TrialStore
from tests.conftest import run_here, small_study

ROOT = Path(__file__).parents[2]
README = ROOT / "README.md"


def snippet(page: str, word: str) -> str:
    """The one block of Python in a page of the manual that has this word."""
    text = (ROOT / "docs" / page).read_text(encoding="utf-8")
    (block,) = (text for text in re.findall(r"```python\n(.*?)```", text, re.DOTALL) if word in text)
    return str(block)


@pytest.fixture
def out(small_store: Path, tmp_path: Path) -> Path:
    shutil.copytree(small_store, tmp_path / "results" / "quickstart")
    return tmp_path / "results" / "quickstart"


def drop_a_row(out: Path) -> str:
    """Remove a trial's row by hand, as a user does to have it trained again; gives its id."""
    path = min((out / "trials").iterdir())
    table = pq.read_table(path)
    dropped = str(table["trial_id"][0])
    pq.write_table(table.filter(pc.not_equal(table["trial_id"], dropped)), path)
    return dropped


@pytest.mark.parametrize("page", ["figures.md", "store.md", "tutorial.md"])
def test_the_manuals_python_has_every_measurement_once(page: str, out: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(out.parents[1])
    found: dict[str, pd.DataFrame] = {}
    exec(snippet(page, "read_measurements"), found)
    assert len(found["frame"]) == 8 * 6
    assert {"loss", "num_samples", "steps_per_second", "context", "seed"} <= set(found["frame"])


@pytest.mark.parametrize("is_compacted", [False, True])
def test_a_trial_whose_row_was_dropped_counts_once_when_it_is_trained_again(out: Path, is_compacted: bool) -> None:
    dropped = drop_a_row(out)
    assert dropped not in set(read_measurements(str(out))["trial_id"])
    run_here(small_study(), out)
    if is_compacted:
        TrialStore(str(out)).compact()
    for evals in (read_measurements(str(out)), read_store(str(out)).evals):
        assert evals["trial_id"].value_counts().unique().tolist() == [6]
        assert evals["trial_id"].nunique() == 8


def test_measurements_of_a_trial_that_stands_in_two_files_count_once(out: Path) -> None:
    for folder in ("trials", "evals"):
        path = min((out / folder).iterdir())
        shutil.copy(path, path.with_name("zz.parquet"))
    assert len(read_measurements(str(out))) == len(read_store(str(out)).evals) == 8 * 6


@pytest.mark.parametrize("damage", [lambda content: b"PAR1", lambda content: content.replace(b"loss", b"\x80oss")])
def test_a_damaged_file_is_no_measurement(out: Path, damage: Callable[[bytes], bytes]) -> None:
    """Cut off; or a column's name is no text."""
    path = min((out / "evals").iterdir())
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(StoreError, match="cannot be read"):
        read_measurements(str(out))

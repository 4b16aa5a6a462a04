"""The numbers behind the figures of every stored reference study, and what psp plot and psp compare make of each.

The digests were recorded before analysis read what a store says of its curves. A change that is meant to alter them
records them anew:

    python -m tests.analysis.test_reference_tables
"""

import hashlib
import json
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from analysis.compare import compare_store
from analysis.measured import Measured
from analysis.plot import experiments, plot_store, with_roles
from analysis.store import StoredTrials, StoreError, read_store
from analysis.tables import capacity, first_task, interference, mean_accuracy

REFERENCE = Path(__file__).parents[2] / "reference"
RECORDED = Path(__file__).with_suffix(".json")
STORES = sorted(path.name for path in REFERENCE.iterdir() if (path / "trials").is_dir())


def described(store: str, copy: Path) -> dict[str, Any]:
    """What a reference store's figures are drawn from, and which they are; drawn into `copy`."""
    shutil.copytree(REFERENCE / store, copy)
    lines = [line.replace(f"{copy}/", "") for line in plot_store(str(copy))]
    stored = read_store(str(copy))
    frames = {"crosstalk": stored.crosstalk} if stored.evals.empty else dict(tables(stored))
    labels = set() if stored.evals.empty else set(stored.evals["context"])
    return {
        "curves": sorted(labels),
        "lines": lines,
        "tables": {name: digest_of(frame) for name, frame in frames.items()},
        "compared": compared(copy),
    }


def tables(store: StoredTrials) -> Iterator[tuple[str, pd.DataFrame]]:
    """Each table of each experiment, as its figures have it: also where a setting is their x."""
    whole = with_roles(store)
    for x in (None, *whole.roles.x):
        for suffix, measured in experiments(whole, [x] if x else []):
            by = f"-by-{x}" if x else ""
            for name, frame in of_experiment(measured.against(x) if x else measured):
                yield f"{name}{by}{suffix}", frame


def of_experiment(measured: Measured) -> Iterator[tuple[str, pd.DataFrame]]:
    best = measured.best_lr
    frames = {"accuracy": mean_accuracy(best), "first-task": first_task(best)}
    if best["num_cycles"].max() == 1:  # as the figures have it
        frames |= {"interference": interference(best), "capacity": capacity(best, 0.9)}
    for name, frame in frames.items():
        num_tasks = best.loc[~best["trial_id"].duplicated(), ["trial_id", "num_tasks"]]
        frame = frame if "num_tasks" in frame else frame.merge(num_tasks, on="trial_id")
        yield name, measured.beside(frame)


def digest_of(frame: pd.DataFrame) -> str:
    """Of a table's rows, whatever their order: floats to the last bit."""
    columns = sorted(map(str, frame.columns))
    rows = sorted("|".join(map(exact, row)) for row in frame[columns].itertuples(index=False, name=None))
    return digest("\n".join(["|".join(columns), *rows]))


def exact(value: object) -> str:
    if pd.isna(value):
        return "none"
    return value.hex() if isinstance(value, float) else str(value)


def compared(store: Path) -> str | None:
    """The digest of what psp compare prints; None where nothing published is like the store's trials."""
    try:
        return digest("\n\n".join(comparison.table() for comparison in compare_store(str(store))))
    except StoreError:
        return None


def digest(text: str) -> str:
    return hashlib.blake2b(text.encode(), digest_size=8).hexdigest()


@pytest.mark.parametrize("store", STORES)
def test_a_reference_stores_tables_are_to_the_bit_what_they_were(store: str, tmp_path: Path) -> None:
    assert described(store, tmp_path / store) == json.loads(RECORDED.read_text())[store]


def test_every_reference_store_has_tables() -> None:
    assert set(json.loads(RECORDED.read_text())) == set(STORES)


def record() -> None:
    """Write the digests of this version."""
    with tempfile.TemporaryDirectory() as folder:
        found = {store: described(store, Path(folder) / store) for store in STORES}
    RECORDED.write_text(json.dumps(found, indent=1) + "\n")


if __name__ == "__main__":
    record()

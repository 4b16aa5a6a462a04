"""Trials keep their ids: those in the reference stores, and those of every shipped study."""

import hashlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from psp_core.experiment import Experiment
from psp_core.experiments import EXPERIMENTS
from psp_core.retrieval import RetrievalConfig
from psp_core.trial import TrialConfig
from study.plan import trial_id
from study.shipped import shipped_studies
from study.spec import StudySpec, load_study

REFERENCE = Path(__file__).parents[2] / "reference"
SHIPPED = Path(__file__).parent / "shipped_trial_ids.json"
UPDATE = "python -m tests.study.test_trial_ids"
SETTINGS = {one.column for kind in EXPERIMENTS.values() for one in kind.columns_of_settings()}


def stored_trial(row: dict[str, Any]) -> Experiment:
    """The trial that a row of a trial store is of. Null stands for a setting at its default."""
    settings = {name: value for name, value in row.items() if value is not None and name in SETTINGS}
    if settings["method"] == "retrieval":
        del settings["method"]
        return RetrievalConfig.from_flat(settings)
    if settings["method"] == "standard":  # psp without a context
        settings["method"] = "psp"
    return TrialConfig(**settings)


@pytest.mark.parametrize("store", sorted(path.name for path in REFERENCE.iterdir()))
def test_every_stored_trial_has_the_id_of_its_settings(store: str) -> None:
    rows = [row for path in (REFERENCE / store / "trials").glob("*.parquet") for row in pq.read_table(path).to_pylist()]
    assert rows
    assert [trial_id(stored_trial(row)) for row in rows] == [row["trial_id"] for row in rows]


def shipped_forms() -> Iterator[StudySpec]:
    """Every shipped study, and its small form if it has one."""
    for name in shipped_studies():
        spec = load_study(name)
        yield from [spec, spec.reduced()] if spec.small else [spec]


def of_ids(spec: StudySpec) -> list[int | str]:
    """The number of a study's trials, before any are merged, and a digest of their ids in alphabetical order."""
    ids = sorted(map(trial_id, spec.trials()))
    return [len(ids), hashlib.blake2b(" ".join(ids).encode(), digest_size=16).hexdigest()]


def test_every_trial_of_every_shipped_study_keeps_its_id() -> None:
    """A study that was changed on purpose is recorded by `python -m tests.study.test_trial_ids`, and so are new ones.

    A difference in any other study orphans the trials that stores hold of it. New studies need not be recorded at once.
    """
    recorded, found = json.loads(SHIPPED.read_text()), {spec.name: of_ids(spec) for spec in shipped_forms()}
    changed = sorted(name for name in recorded if recorded.get(name) != found.get(name))
    assert not changed, f"trials of {', '.join(changed)} have other ids; if that was the purpose, run: {UPDATE}"


if __name__ == "__main__":
    lines = [f"{json.dumps(spec.name)}: {json.dumps(of_ids(spec))}" for spec in shipped_forms()]
    SHIPPED.write_text("{\n" + ",\n".join(lines) + "\n}\n")

"""A setting is added to a part in one place: the store, labels, experiments and ids have it then."""

import json
import subprocess
import sys
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from psp_core.trial import TrialConfig
from study.plan import trial_id

ADDED = """
import sys

from psp_core.contexts import Context
from psp_core.parts import setting


class Binary(Context.known["binary"], name="binary"):  # in place of the one that is known
    share: float = setting(0.5, "The share of signs that are negative.", label=", share {:g}")
    jitter: int = setting(0, "What is added to signs.", column="jitter")


from psp_core.datasets import load_dataset
from psp_core.trial import TrialConfig
from study.plan import Pack
from study.progress import describe
from study.worker import Job, PackRun

small = {"dataset": "digits", "width": 8, "num_tasks": 2, "steps_per_task": 2, "batch_size": 4}
for settings in ({}, {"context_share": 0.25}, {"jitter": 3}, {"context": {"name": "binary", "jitter": 4}}):
    pack = Pack((TrialConfig(**small, **settings),))
    run = PackRun(Job(study="s", pack=pack, store=sys.argv[1]), load_dataset("digits"))
    while not run.step()["done"]:
        pass
for settings in ({"context": "none"}, {"context_share": 0.25}):
    print(describe([TrialConfig(**small, **settings)], ["context", "context_share"]))
"""


@pytest.fixture(scope="module")
def added(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """A store of trials whose context has two more settings: as usual, and with a value of one; what was printed."""
    out = tmp_path_factory.mktemp("stores") / "added"
    done = subprocess.run([sys.executable, "-c", ADDED, str(out)], check=True, capture_output=True, text=True)
    return out, done.stdout


@pytest.fixture
def store(added: tuple[Path, str]) -> Path:
    return added[0]


def test_progress_names_it_where_a_trial_has_it(added: tuple[Path, str]) -> None:
    assert added[1].splitlines() == ["context=none", "context=binary context_share=0.25"]


def test_the_store_has_a_column_for_it(store: Path) -> None:
    schema = pq.read_schema(next((store / "trials").iterdir()))
    assert {name: str(schema.field(name).type) for name in ("context_share", "jitter")} == {
        "context_share": "double",
        "jitter": "int32",
    }
    assert schema.field("jitter").metadata[b"text"] == b"What is added to signs."


def test_labels_experiments_and_ids_have_it(store: Path) -> None:
    rows = {(row["context_share"], row["jitter"]): row for row in pq.read_table(store / "trials").to_pylist()}
    said = {key: (row["curve"], json.loads(row["experiment"]).get("jitter")) for key, row in rows.items()}
    assert said == {
        (0.5, 0): ("binary", None),
        (0.25, 0): ("binary, share 0.25", None),
        (0.5, 3): ("binary", 3),
        (0.5, 4): ("binary", 4),
    }
    assert {row["status"] for row in rows.values()} == {"ok"}
    assert len({row["trial_id"] for row in rows.values()}) == 4


def test_trials_that_have_it_as_usual_keep_their_ids(store: Path) -> None:
    trial = TrialConfig(dataset="digits", width=8, num_tasks=2, steps_per_task=2, batch_size=4)
    (usual,) = pq.read_table(store / "trials", filters=[("curve", "=", "binary"), ("jitter", "=", 0)]).to_pylist()
    assert usual["trial_id"] == trial_id(trial)

"""A store of many trials with made-up accuracies: python -m tests.big_store OUT --trials 10000 --tasks 50."""

import argparse
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from study.plan import make_packs, merge, trial_id
from study.schema import MEASURED, TRIALS
from study.spec import StudySpec
from study.store import TrialStore
from study.worker import Job, _row

AXES = {
    "width": [64, 128, 256, 512, 1024],
    "context": ["none", "binary", "complex", "one-power", "rotation"],
    "lr": [1e-2, 3e-3, 1e-3, 3e-4, 1e-4],
}


def big_study(num_trials: int, num_tasks: int) -> StudySpec:
    """Five widths, contexts and learning rates, and as many seeds as it takes."""
    seeds = list(range(num_trials // 125))
    settings = {"dataset": "mnist", "num_tasks": num_tasks}
    return StudySpec.from_mapping({"name": "big", "axes": AXES, "seeds": seeds, "settings": settings})


def write_big_store(out: Path, num_trials: int, num_tasks: int) -> TrialStore:
    """Every trial planned, done; accuracies fall with the number of tasks seen since."""
    spec, store = big_study(num_trials, num_tasks), TrialStore(str(out))
    store.claim(spec, {})
    rng = np.random.default_rng(0)
    seen, task = (index + 1 for index in np.tril_indices(num_tasks))
    for folder in ("trials", "evals"):
        (out / folder).mkdir(exist_ok=True)
    for pack in make_packs(merge(spec.trials()), max_members=16):
        job = Job(study="big", pack=pack, store=store.uri)
        rows = [_row(job, trial, status="ok", seconds=1.0, final_accuracy=0.5) for trial in pack.trials]
        pq.write_table(pa.Table.from_pylist(rows, schema=TRIALS), out / "trials" / f"{pack.id}.parquet")
        count = len(pack.trials)
        fall = 0.01 * np.tile(seen - task, count) * rng.uniform(0.5, 1.5, count).repeat(len(seen))
        columns = {
            "trial_id": np.repeat([trial_id(trial) for trial in pack.trials], len(seen)),
            "tasks_seen": np.tile(seen, count),
            "task": np.tile(task - 1, count),
            "accuracy": np.round(np.clip(0.95 - fall + rng.normal(0, 0.01, len(fall)), 0, 1), 4),
            "loss": np.round(fall + 0.1, 4),
            "num_samples": np.full(len(fall), 10_000),
            "step": np.tile(seen, count) * 1000,
        }
        nulls = {field.name: pa.nulls(len(fall), field.type) for field in MEASURED["evals"]}
        evals = pa.table(nulls | columns, schema=MEASURED["evals"])
        pq.write_table(evals, out / "evals" / f"{pack.id}.parquet", compression="zstd")
    return store


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("out", type=Path)
    parser.add_argument("--trials", type=int, default=10_000)
    parser.add_argument("--tasks", type=int, default=50)
    arguments = parser.parse_args()
    write_big_store(arguments.out, arguments.trials, arguments.tasks)

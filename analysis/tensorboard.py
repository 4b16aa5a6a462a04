"""A store as runs of TensorBoard: a folder for each trial, with its course, its settings and its results."""

import json
import re
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import pandas as pd

from analysis.export import ADDED, wide
from analysis.roles import is_number
from analysis.store import StoredTrials, StoreError
from analysis.tables import mean_accuracy

SETTINGS: Final = ("curve", "width", "lr", "seed", "num_tasks", "dataset", "stream")


def export_tensorboard(store: StoredTrials, folder: str | Path) -> int:
    """Write a run for each trial that has a result; returns how many.

    A run has the scalars `accuracy/mean` and `accuracy/task 0` after each number of tasks, `accuracy/within task J` at
    each optimiser step that was measured, and hyperparameters with ADDED as metrics.

    Args:
        store: a trial store.
        folder: the log folder; runs of the same names are written anew.

    Raises:
        StoreError: TensorBoard is not installed, or no trial has a result.
    """
    try:
        from tensorboard.summary.writer.event_file_writer import EventFileWriter
    except ImportError:
        raise StoreError("TensorBoard is not installed. Install it: pip install 'psp-study[tensorboard]'.") from None
    if store.evals.empty:
        raise StoreError("No trial of this store has an accuracy yet; see psp status.")
    table = wide(store).set_index("trial_id")
    means, names = mean_accuracy(store.evals), store.evals["trial_id"].unique()
    for name in names:
        row = table.loc[name]
        run = Path(folder) / _run(row, str(name))
        for old in run.glob("events.out.tfevents.*"):
            old.unlink()
        writer = EventFileWriter(str(run))
        for event in [*_scalars(store, means, str(name)), *_hyperparameters(row)]:
            writer.add_event(event)
        writer.close()
    return len(names)


def _run(row: "pd.Series[Any]", name: str) -> str:
    """Its settings, for people, and the beginning of its id, which no other trial has."""
    text = f"{row['curve']}-width={row['width']}-lr={row['lr']:g}-seed={row['seed']}-{name[:8]}"
    return re.sub(r"[^\w.=+-]+", "-", text)


def _scalars(store: StoredTrials, means: pd.DataFrame, name: str) -> Iterator[Any]:
    own = means[means["trial_id"] == name]
    yield from _series("accuracy/mean", own["tasks_seen"], own["accuracy"])
    first = store.evals[(store.evals["trial_id"] == name) & (store.evals["task"] == 0)]
    yield from _series("accuracy/task 0", first["tasks_seen"], first["accuracy"])
    if not store.curves.empty:
        within = store.curves[store.curves["trial_id"] == name]
        for task, some in within.groupby("task"):
            yield from _series(f"accuracy/within task {task}", some["step"], some["accuracy"])


def _series(tag: str, steps: "pd.Series[int]", values: "pd.Series[float]") -> Iterator[Any]:
    from tensorboard.compat.proto.event_pb2 import Event
    from tensorboard.compat.proto.summary_pb2 import Summary

    for step, value in zip(steps, values, strict=True):
        summary = Summary(value=[Summary.Value(tag=tag, simple_value=float(value))])
        yield Event(step=int(step), wall_time=time.time(), summary=summary)


def _hyperparameters(row: "pd.Series[Any]") -> Iterator[Any]:
    from tensorboard.compat.proto.event_pb2 import Event
    from tensorboard.plugins.hparams import summary_v2 as hparams

    settings = {name: row[name] for name in dict.fromkeys([*SETTINGS, *json.loads(row["experiment"])]) if name in row}
    known = {name: _value(value) for name, value in settings.items() if value is not None and value == value}
    yield Event(wall_time=time.time(), summary=hparams.hparams_pb(known))
    for name in ADDED:
        if pd.notna(row[name]):
            yield from _series(name, pd.Series([0]), pd.Series([row[name]]))


def _value(value: Any) -> bool | float | str:  # noqa: ANN401 - any setting's
    return value if isinstance(value, bool) else float(value) if is_number(value) else str(value)

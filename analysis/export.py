"""A store as one wide table: a row for each trial, with its settings, results and costs."""

import io
import json
from collections.abc import Callable, Mapping
from typing import Any, Final

import pandas as pd

from analysis.store import StoredTrials, StoreError, open_folder
from analysis.tables import THRESHOLD, capacity_bounds, mean_accuracy
from analysis.transfer import backward_transfer, forgetting, forward_transfer
from analysis.whole_files import write_whole

ADDED: Final[Mapping[str, str]] = {
    "accuracy": "Mean accuracy over all tasks after the last one.",
    "forgetting": "A task's best accuracy before the end, less its accuracy in the end; mean over old tasks.",
    "backward": "A task's accuracy in the end, less its accuracy when new; mean over old tasks.",
    "forward": "A task's accuracy when new, less that of a network that learned the task alone; mean over tasks.",
    "capacity_at_least": "The most tasks that were measured with a mean accuracy of 90% of task 0's when new.",
    "capacity_below": "The next number of tasks that was measured; infinite where all tasks were kept.",
}
"""Columns that the store does not have. They are null of trials without result, and where they are not defined."""
FORMATS: Final = ("csv", "parquet")


def wide(store: StoredTrials) -> pd.DataFrame:
    """The trials of a store: all columns of its `trials`, then ADDED.

    Trials that were measured on validation images, to choose settings, are there too: see their column `eval_on`.
    """
    parts = [store, *([store.validated] if store.validated else [])]
    trials = pd.concat([part.trials for part in parts], ignore_index=True)
    results = pd.concat([_results(part) for part in parts])
    return trials.assign(**{name: trials["trial_id"].map(results[name]).astype(float) for name in ADDED})


def _results(store: StoredTrials) -> pd.DataFrame:
    """The columns ADDED, by trial."""
    if store.evals.empty:
        return pd.DataFrame(columns=list(ADDED))
    evals = store.evals
    once = evals[evals["num_cycles"] == 1]
    last = evals.groupby("trial_id", observed=True)["tasks_seen"].max()
    accuracy = mean_accuracy(evals)
    accuracy = accuracy[accuracy["tasks_seen"] == accuracy["trial_id"].astype(object).map(last)]
    bounds = capacity_bounds(once, THRESHOLD).rename(
        columns={"at_least": "capacity_at_least", "below": "capacity_below"}
    )
    frames = [accuracy, forgetting(once), backward_transfer(once), forward_transfer(once, store.trials), bounds]
    columns = [frame.astype({"trial_id": object}).set_index("trial_id") for frame in frames]
    found = {name: frame[name] for frame in columns for name in ADDED if name in frame}
    return pd.DataFrame(found, columns=list(ADDED))


def content(table: pd.DataFrame, format: str) -> bytes:
    """A wide table as a file. In CSV lists are JSON, and what is null is empty.

    Args:
        table: from `wide`.
        format: one of FORMATS.
    """
    writers: Mapping[str, Callable[[], bytes]] = {"csv": lambda: _csv(table), "parquet": lambda: _parquet(table)}
    return writers[format]()


def _csv(table: pd.DataFrame) -> bytes:
    return table.map(_plain).to_csv(index=False).encode()


def _parquet(table: pd.DataFrame) -> bytes:
    stream = io.BytesIO()
    table.to_parquet(stream, index=False)
    return stream.getvalue()


def _plain(value: Any) -> Any:  # noqa: ANN401 - any setting's
    return json.dumps(list(value)) if hasattr(value, "__len__") and not isinstance(value, str) else value


def export_into(out: str, table: pd.DataFrame, format: str) -> str:
    """Write a wide table into its store; returns its place.

    Raises:
        StoreError: the store cannot be written.
    """
    fs, root = open_folder(out)
    name = f"export.{format}"
    try:
        write_whole(fs, root, name, content(table, format))
    except OSError as error:
        raise StoreError(
            f"out={out!r} cannot be written: {' '.join(str(error).split())}. Name a file with --to."
        ) from None
    return f"{out.rstrip('/')}/{name}"

"""A trial store's files as two tidy frames."""

from dataclasses import dataclass
from pathlib import Path
from typing import Final

import pandas as pd
import pyarrow as pa
import pyarrow.fs as pafs
import pyarrow.parquet as pq

from analysis.labels import curve_labels, own_recipes, tell_numbers_of_tasks_apart, whole_stream_tasks

# Settings that tell one experiment from another. Trials of a figure share them all; width, context (as
# a label that says heads and schedule too), lr, seed and the number of tasks are what the figures show.
STRATUM: Final = [
    "dataset",
    "stream",
    "permute_first",
    "classes_per_task",
    "shuffle_classes",
    "keep_labels",
    "num_cycles",
    "stream_tasks",
    "learned_contexts",
    "precision",
    "model",
    "norm",
    "depth",
    "steps_per_task",
    "steps_per_decision",
    "batch_size",
    "optimiser",
    "later_lr",
    "lr_schedule",
    "warmup_steps",
    "lr_decay_steps",
    "lr_decay",
    "momentum",
    "weight_decay",
    "eval_tasks",
    "eval_samples",
]


RECIPE: Final = ["optimiser", "later_lr"]  # of these, those that belong to how a rival is trained; see `strata`

# Settings younger than the oldest stores, each with the value that means what those stores did.
ADDED_LATER: Final[dict[str, bool | str | float | None]] = {
    "trunk": "shared",
    "later_lr": None,
    "lr_schedule": "constant",
    "warmup_steps": 0,
    "lr_decay_steps": None,
    "lr_decay": 0.1,
    "output_contexts": False,
    "learned_contexts": False,
    "precision": "tf32",
    "classes_per_task": None,
    "shuffle_classes": False,
    "keep_labels": False,
    "weight_decay": 0.0,
    "num_cycles": 1,
    "heads": "shared",
    "norm": "static",
    "contexts_per_task": 1,
    "schedule": "task",
    "frozen_weights": "signed-constant",
    "masks": "threshold",
    "sparsity": None,
    "transfer": "random",
    "superfluous": 0,
    "task_inference": "given",
    "inference_images": 1,
    "new_mask_eps": None,
    "steps_per_decision": 100,
    "inference_layers": "all",
    "inference_lr": None,
    "inference_steps": None,
    "shared_labels": False,
    "hopfield_rule": "storkey",
    "recovery_gamma": 1.5e-3,
    "recovery_order": "together",
    "recovery_lr": 500.0,
}


RETRIEVAL: Final = ["context", "width", "alignment", "support", "seed"]  # what tells retrieval trials apart
EVALS: Final = ["trial_id", "tasks_seen", "task", "accuracy"]  # what is read of the evals


class StoreError(ValueError):
    """A store cannot be read or drawn; the message says why."""


@dataclass(frozen=True)
class Store:
    """What a store holds.

    Attributes:
        trials: one row per trial, the columns of the store's contract.
        evals: one row per (trial, tasks_seen, task) with its accuracy, and beside it the settings that
            tell trials apart, names as categories; trials that diverged or failed are left out.
            Here `context` is the label of the trial's curve (analysis/labels.py), `stream_tasks` the number of
            tasks where the stream as a whole depends on it, else 0, `own_recipe` whether the trial is a rival's, and
            `learned_contexts` whether contexts were trained and the label does not say so.
        crosstalk: one row per (trial, num_models) of retrieval studies, with the trial's settings beside it.
        damaged: a sentence for each file that could not be read.
        left_out: a sentence for each kind of trial that is not among the evals.
    """

    trials: pd.DataFrame
    evals: pd.DataFrame
    crosstalk: pd.DataFrame
    damaged: list[str]
    left_out: list[str]


def open_folder(out: str) -> tuple[pafs.FileSystem, str]:
    """The file system and the path of a store.

    Raises:
        StoreError: there is no store at that place.
    """
    try:
        fs, root = pafs.FileSystem.from_uri(out if "://" in out else str(Path(out).expanduser().absolute()))
        found = fs.get_file_info(f"{root}/trials").type == pafs.FileType.Directory
    except (OSError, pa.ArrowException) as error:
        raise StoreError(f"out={out!r} cannot be opened: {error}.") from None
    if not found:
        raise StoreError(f"out={out!r} is no trial store: it has no trials/. Name the --out of a psp run.")
    return fs, root


def read_store(out: str) -> Store:
    """Read a store whole; a damaged file is named and the others still count.

    Raises:
        StoreError: there is no store at that place, or nothing in it can be read.
    """
    fs, root = open_folder(out)
    packs = _parquet_files(fs, f"{root}/trials")
    trials, damaged = _read_files(fs, f"{root}/trials", packs, out)
    # A pack is there when its trials are; evals of another name were left behind by what was stopped.
    measured = [name for name in _parquet_files(fs, f"{root}/evals") if name in set(packs)]
    evals, more = _read_files(fs, f"{root}/evals", measured, out, EVALS)
    measured = [name for name in _parquet_files(fs, f"{root}/crosstalk") if name in set(packs)]
    crosstalk, of_retrieval = _read_files(fs, f"{root}/crosstalk", measured, out)
    damaged += more + of_retrieval
    if trials.empty:
        raise StoreError(f"out={out!r} holds no readable trial yet; let psp run finish some first. {' '.join(damaged)}")
    for column, before in ADDED_LATER.items():
        if column not in trials:
            trials[column] = before
        if before is not None:
            trials[column] = trials[column].where(trials[column].notna(), before).astype(type(before))
    # A trial may stand in two files: once as failed, then as what a later run made of it.
    trials["_failed"] = trials["status"] == "failed"
    repeated = trials.loc[trials["status"] == "ok", "trial_id"].duplicated().any()
    trials = trials.sort_values("_failed", kind="stable").drop_duplicates("trial_id").drop(columns="_failed")
    ok = _labelled(trials[trials["status"] == "ok"].sort_values("num_tasks"))
    # Of trials that differ in their number of tasks alone, one is the beginning of the other.
    ok = ok.drop_duplicates([*STRATUM, "context", "width", "lr", "seed"], keep="last")
    left_out = [
        f"{len(group)} {status} trials are left out of tables and figures"
        for status, group in trials[trials["status"] != "ok"].groupby("status")
    ]
    if not evals.empty:
        evals = _beside(evals.drop_duplicates(["trial_id", "tasks_seen", "task"]) if repeated else evals, ok)
    if not crosstalk.empty:
        settings = trials.loc[trials["status"] == "ok", ["trial_id", *RETRIEVAL]]
        crosstalk = crosstalk.drop_duplicates(["trial_id", "num_models"]).merge(settings, on="trial_id")
    return Store(trials.reset_index(drop=True), evals, crosstalk, damaged, left_out)


def _labelled(trials: pd.DataFrame) -> pd.DataFrame:
    """The trials with `stream_tasks` and `own_recipe`, and with their curves' labels as their contexts."""
    trials = trials.assign(
        stream_tasks=whole_stream_tasks(trials),
        own_recipe=own_recipes(trials),
        context=curve_labels(trials),
        learned_contexts=trials["learned_contexts"] & ~trials["output_contexts"],
    )
    return trials.assign(context=tell_numbers_of_tasks_apart(trials))


def _beside(evals: pd.DataFrame, trials: pd.DataFrame) -> pd.DataFrame:
    """The evals of these trials, with what tells the trials apart beside them."""
    trials = trials.reset_index(drop=True)
    row_of_name = pd.Series(trials.index, index=trials["trial_id"])
    names = evals["trial_id"].cat.categories
    rows = row_of_name.reindex(names, fill_value=-1).to_numpy()[evals["trial_id"].cat.codes]
    if (rows < 0).any():
        evals, rows = evals[rows >= 0].reset_index(drop=True), rows[rows >= 0]
    for column in (*STRATUM, "own_recipe", "context", "width", "lr", "seed", "num_tasks"):
        values = trials[column]
        if values.dtype.kind not in "biuf":
            values = values.astype("category")
        evals[column] = values.array.take(rows)
    return evals


def _parquet_files(fs: pafs.FileSystem, folder: str) -> list[str]:
    try:
        found = fs.get_file_info(pafs.FileSelector(folder, allow_not_found=True))
    except OSError as error:
        raise StoreError(f"{folder} cannot be listed: {' '.join(str(error).split())}.") from None
    names = [str(info.base_name) for info in found]
    return sorted(name for name in names if name.endswith(".parquet") and not name.startswith("."))


def _read_files(
    fs: pafs.FileSystem, folder: str, names: list[str], out: str, columns: list[str] | None = None
) -> tuple[pd.DataFrame, list[str]]:
    tables, damaged = [], []
    for name in names:
        try:
            with fs.open_input_file(f"{folder}/{name}") as file:
                table = pq.ParquetFile(file, read_dictionary=EVALS[:1] if columns else None).read(columns)
            table.validate(full=True)  # of text that is no UTF-8 nothing else speaks until it is needed
            tables.append(table)
        except (OSError, pa.ArrowException) as error:
            place = f"{out}/{folder.rpartition('/')[2]}/{name}"
            damaged.append(f"{place} cannot be read ({' '.join(str(error).split())}).")
    if not tables:
        return pd.DataFrame(), damaged
    table = pa.concat_tables(tables, promote_options="permissive").unify_dictionaries()
    frame: pd.DataFrame = table.to_pandas(self_destruct=True, split_blocks=True)
    return frame, damaged

"""Reads a trial store's files into tidy frames."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Final

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.fs as pafs
import pyarrow.parquet as pq

from analysis.experiments import settings_apart, values_apart
from analysis.labels import labels_without, tell_numbers_of_tasks_apart, whole_stream_tasks
from analysis.old_stores import OLDEST, completed
from analysis.several_stores import cells_in, joined, measured_in, names_of, of_store
from analysis.tuned import Cell, read_cells, settled

# Figures read these settings by name, so they stand beside the measurements though they do not vary.
FACTS: Final = (
    *("dataset", "stream", "classes_per_task", "keep_labels", "num_cycles", "model", "depth"),
    *("steps_per_task", "batch_size", "optimiser"),
)
MORE: Final = {"num_tasks": True, "eval_every": False, "eval_from": False}  # so sorted, the fullest trial is last
EVALS: Final = ["trial_id", "tasks_seen", "task", "accuracy"]  # the columns of evals that are read
CURVES: Final = ["trial_id", "step", "task", "accuracy"]
TRAIN_LOSS: Final = "train_loss"  # of curves, but for those of older stores
FILE: Final = "_file"  # the file of each row, while a store is read
CROSSTALK: Final = ["trial_id", "num_models"]
PREDICTIONS: Final = ["trial_id", "theory", "tasks_seen", "accuracy", "first_task"]
OF_RETRIEVAL: Final = ["alignment", "support"]  # as FACTS, of crosstalk
TRIALS: Final = ["trial_id", "status", "method", "context", "width", "lr", "seed", "num_tasks"]


class StoreError(ValueError):
    """A store cannot be read or drawn; the message says why."""


@dataclass(frozen=True)
class StoredTrials:
    """What a store holds.

    Attributes:
        trials: one row per trial; the columns of the store's contract.
        evals: one row per (trial, tasks_seen, task): its accuracy, and the settings that tell trials apart. Names are
            categories. Trials that diverged or failed are left out. `context` is the label of the trial's curve
            (analysis/labels.py). `stream_tasks` is the number of tasks where the whole stream depends on it, else 0.
            A setting that the label speaks of has its usual value (analysis/experiments.py).
        curves: one row per (trial, step, task): columns CURVES and TRAIN_LOSS, of those trials of `evals` that have
            a curve. Where trials were measured on test images, those that were measured on validation images are in
            `validated` and in none of the other tables.
        diverged: one row per trial that diverged and has no other result; settings as in `evals`.
        crosstalk: one row per (trial, num_models) of a retrieval study, and the trial's settings.
        predictions: one row per (trial, theory, tasks_seen): columns PREDICTIONS, of trials of `evals` that predict.
        damaged: a sentence for each file that could not be read.
        left_out: a sentence for each kind of trial that `evals` leaves out.
        validated: what the store holds of trials that were measured on validation images, such as a study's tuning,
            where there are trials of both kinds. Choices are made by them; they are no results.
        cells: what the study chose by itself.
    """

    trials: pd.DataFrame
    evals: pd.DataFrame
    curves: pd.DataFrame
    diverged: pd.DataFrame
    crosstalk: pd.DataFrame
    predictions: pd.DataFrame
    damaged: list[str]
    left_out: list[str]
    validated: "StoredTrials | None" = None
    cells: list[Cell] = field(default_factory=list)


def open_folder(out: str) -> tuple[pafs.FileSystem, str]:
    """The file system and the path of a store.

    Raises:
        StoreError: there is no store at that place.
    """
    try:
        fs, root = pafs.FileSystem.from_uri(
            _with_an_end(out) if "://" in out else str(Path(out).expanduser().absolute())
        )
        fs.get_file_info(pafs.FileSelector(f"{root}/trials"))  # some may list a folder, but not look for one file
    except (FileNotFoundError, NotADirectoryError):
        raise StoreError(f"out={out!r} is no trial store: it has no trials/. Name the --out of a psp run.") from None
    except (OSError, pa.ArrowException, ValueError, RuntimeError) as error:  # RuntimeError: no such user
        raise StoreError(
            f"out={out!r} cannot be opened: {' '.join(str(error).split()).rstrip('.')}. "
            "Use a folder or a URI such as s3://bucket/path."
        ) from None
    return fs, root


def _with_an_end(uri: str) -> str:
    """The URI, with a limit to Google's retries, as in `study/files.py`."""
    if not uri.startswith(("gs://", "gcs://")) or "retry_limit_seconds=" in uri:
        return uri
    return f"{uri}{'&' if '?' in uri else '?'}retry_limit_seconds=10"


def read_store(*outs: str) -> StoredTrials:
    """Read a whole store, or several as one. A damaged file is named; the other files still count.

    Of several stores, a setting `store` tells which one a trial is in, so no mean is taken over two.

    Raises:
        StoreError: there is no store at a place, or nothing in it can be read.
    """
    names = names_of(outs)
    parts = [_part(out, name if len(outs) > 1 else None) for out, name in zip(outs, names, strict=True)]
    trials = pd.concat([part[0] for part in parts], ignore_index=True)
    measured = tuple(map(joined, zip(*(part[1] for part in parts), strict=True)))
    damaged = [text for part in parts for text in part[2]]
    cells = [cell for part in parts for cell in part[3]]
    validated = on_validation(trials)
    if validated.all() or not validated.any():
        return replace(_stored(trials, measured, damaged), cells=cells)
    validating = _stored(trials[validated].reset_index(drop=True), measured, [])
    results = _stored(trials[~validated].reset_index(drop=True), measured, damaged)
    return replace(results, validated=validating, cells=cells)


def _part(out: str, name: str | None) -> tuple[pd.DataFrame, tuple[pd.DataFrame, ...], list[str], list[Cell]]:
    """A store's trials, measurements, damaged files and choices; with its name where there are several stores."""
    trials, measured, damaged = _read(out, EVALS)
    cells = read_cells(*open_folder(out))
    trials = settled(completed(trials).copy(), cells)  # a copy has its columns together: pandas warns of many apart
    if name is None:
        return trials, measured, damaged, cells
    return of_store(trials, name), tuple(measured_in(rows, name) for rows in measured), damaged, cells_in(cells, name)


def on_validation(trials: pd.DataFrame) -> "pd.Series[bool]":
    """Which trials were measured on validation images; none of a store that is older than that setting."""
    stored = trials.get("eval_on", pd.Series("test", index=trials.index))
    return stored == "validation"


def _stored(trials: pd.DataFrame, measured: tuple[pd.DataFrame, ...], damaged: list[str]) -> StoredTrials:
    """What a store holds of these trials."""
    evals, curves, crosstalk, predictions = measured
    counted = relabelled(trials[trials["status"] != "failed"])
    apart = {*settings_apart(counted), "stream_tasks"}
    # Of two trials that differ in their number of tasks alone, the shorter is the beginning of the longer. Of two that
    # differ in their moments alone, one was measured more often. A trial that diverged comes before one that is ok.
    order = {"status": True, **MORE}
    counted = counted.sort_values(list(order), ascending=list(order.values()), na_position="first")
    counted = counted.drop_duplicates(["context", "width", *apart, "lr", "seed"], keep="last")
    ok, diverged = (counted[counted["status"] == status] for status in ("ok", "diverged"))
    left_out = [
        f"{len(group)} {status} {'trial is' if len(group) == 1 else 'trials are'} left out: {_which(group)}"
        for status, group in trials[trials["status"] != "ok"].groupby("status")
    ]
    if not evals.empty:
        settings = ["context", "width", *sorted(apart.union(FACTS)), *MORE, "lr", "seed", "num_labels"]
        evals = _beside(evals, ok, settings)
    if not curves.empty:
        curves = curves[curves["trial_id"].isin(ok["trial_id"])]
        curves = curves.reindex(columns=[*CURVES, TRAIN_LOSS]).reset_index(drop=True)
    if not predictions.empty:
        predictions = predictions.loc[predictions["trial_id"].isin(ok["trial_id"]), PREDICTIONS].reset_index(drop=True)
    if not crosstalk.empty:
        settings = ["trial_id", "context", "width", *sorted({*OF_RETRIEVAL, *settings_apart(ok)}), "seed"]
        crosstalk = crosstalk.merge(ok[settings], on="trial_id")
    diverged = diverged.reset_index(drop=True)
    return StoredTrials(trials, evals, curves, diverged, crosstalk, predictions, damaged, left_out)


def read_measurements(out: str) -> pd.DataFrame:
    """Every measurement of a store once: all columns of its evals, and its trial's row beside each.

    Use this function instead of reading the folders `evals` and `trials`. There a trial may stand in two files: it was
    trained again after it failed, or after its row was removed. Of trials that diverged, the measurements until then
    are there; see `status`. Every row has `curve` and `experiment`, also of stores older than these columns.

    Raises:
        StoreError: as `read_store`, or a file of the store is damaged.
    """
    trials, (evals, *_), damaged = _read(out)
    if damaged:
        raise StoreError(" ".join(damaged))
    return evals.merge(completed(trials), on="trial_id") if not evals.empty else evals


def _read(out: str, columns: list[str] | None = None) -> tuple[pd.DataFrame, tuple[pd.DataFrame, ...], list[str]]:
    """The trials, their evals, curves, crosstalk and predictions, each row once; a sentence for each damaged file."""
    fs, root = open_folder(out)
    packs = _parquet_files(fs, f"{root}/trials")
    trials, damaged = _read_files(fs, f"{root}/trials", packs, out)
    measured = []
    for folder, wanted in (("evals", columns), ("curves", None), ("crosstalk", None), ("predictions", None)):
        # A pack counts once its trials are there. Evals of another name are from a run that was stopped.
        names = set(_parquet_files(fs, f"{root}/{folder}"))
        there = [name if name in names else None for name in packs]
        rows, more = _read_files(fs, f"{root}/{folder}", there, out, wanted)
        measured.append(rows)
        damaged += more
    if trials.empty:
        raise StoreError(f"out={out!r} holds no readable trial yet; let psp run finish some first. {' '.join(damaged)}")
    evals, curves, crosstalk, predictions = measured
    _require(trials, [*TRIALS, *OLDEST], f"{out}/trials")
    _require(evals, EVALS, f"{out}/evals")
    _require(curves, CURVES, f"{out}/curves")
    _require(crosstalk, CROSSTALK, f"{out}/crosstalk")
    _require(predictions, PREDICTIONS, f"{out}/predictions")
    trials, is_repeated = _once(trials, evals)
    evals = _of_their_trials(evals, trials)
    if is_repeated and not evals.empty:  # compacting may have put both results into one file
        evals = evals.drop_duplicates(EVALS[:-1])
    if not curves.empty:
        curves = _of_their_trials(curves, trials).drop_duplicates(CURVES[:-1])
    if not crosstalk.empty:
        crosstalk = _of_their_trials(crosstalk, trials).drop_duplicates(CROSSTALK)
    if not predictions.empty:
        predictions = _of_their_trials(predictions, trials).drop_duplicates(PREDICTIONS[:3])
    return trials.drop(columns=FILE), (evals, curves, crosstalk, predictions), damaged


def _once(trials: pd.DataFrame, evals: pd.DataFrame) -> tuple[pd.DataFrame, bool]:
    """Each trial's row that counts, and whether some result stands in two rows.

    A trial may stand in two files: in one it failed, or its evals cannot be read; in the other a later run stored it.
    """
    is_repeated = bool(trials.loc[trials["status"] != "failed", "trial_id"].duplicated().any())
    failed, unmeasured = trials["status"] == "failed", ~trials[FILE].isin(evals[FILE].unique() if len(evals) else [])
    order = np.argsort(2 * failed + unmeasured, kind="stable")
    return trials.iloc[order].drop_duplicates("trial_id").reset_index(drop=True), is_repeated


def _of_their_trials(rows: pd.DataFrame, trials: pd.DataFrame) -> pd.DataFrame:
    """The measurements in the files of their trials' rows. Measurements of a row that was removed do not count."""
    if rows.empty:
        return rows
    names = rows["trial_id"].astype("category").cat
    file_of_trial = trials.set_index("trial_id")[FILE].reindex(names.categories, fill_value=-1).to_numpy()
    counts = file_of_trial[names.codes] == rows[FILE].to_numpy()
    rows = rows.drop(columns=FILE)
    return rows if counts.all() else rows[counts].reset_index(drop=True)


def _require(rows: pd.DataFrame, columns: list[str], place: str) -> None:
    lacking = [column for column in columns if column not in rows]
    if lacking and not rows.empty:
        raise StoreError(
            f"{place} has no column {', '.join(map(repr, lacking))}, which psp run writes (study/schema.py). "
            "Name a store that psp run made, or put the column back."
        )


def relabelled(trials: pd.DataFrame, unsaid: Collection[str] = ()) -> pd.DataFrame:
    """The trials as `StoredTrials.evals` describes them: `context` is the curve's label.

    Args:
        trials: as stored.
        unsaid: settings whose pieces the labels leave out.
    """
    apart = {setting: values_apart(trials, setting) for setting in settings_apart(trials)}
    context = labels_without(trials, unsaid) if unsaid else trials["curve"]
    trials = trials.assign(**apart, context=context, stream_tasks=whole_stream_tasks(trials))
    return trials.assign(context=tell_numbers_of_tasks_apart(trials))


def _which(trials: pd.DataFrame) -> str:
    """How many trials there are of each kind: `3 of none, width 64, lr 3000`."""
    groups = trials.groupby(["curve", "width", "lr"], dropna=False).size().rename("number").reset_index()
    texts = [
        f"{row['number']} of {row['curve']}, width {row['width']}, lr {row['lr']:g}" for _, row in groups.iterrows()
    ]
    return "; ".join(texts[:5]) + (f"; and {len(texts) - 5} more settings" if len(texts) > 5 else "")


def _beside(evals: pd.DataFrame, trials: pd.DataFrame, columns: Sequence[str]) -> pd.DataFrame:
    """The evals of these trials, with these columns of the trials."""
    trials = trials.reset_index(drop=True)
    row_of_name = pd.Series(trials.index, index=trials["trial_id"])
    names = evals["trial_id"].cat.categories
    rows = row_of_name.reindex(names, fill_value=-1).to_numpy()[evals["trial_id"].cat.codes]
    if (rows < 0).any():
        evals, rows = evals[rows >= 0].reset_index(drop=True), rows[rows >= 0]
    for column in columns:
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
    fs: pafs.FileSystem, folder: str, names: Sequence[str | None], out: str, columns: list[str] | None = None
) -> tuple[pd.DataFrame, list[str]]:
    """The rows of these files, and a sentence for each damaged file. FILE is the file's place in `names`."""
    tables, damaged = [], []
    for number, name in enumerate(names):
        if name is None:
            continue
        try:
            with fs.open_input_file(f"{folder}/{name}") as file:
                table = pq.ParquetFile(file, read_dictionary=EVALS[:1] if columns else None).read(columns)
            table.validate(full=True)  # else text that is no UTF-8 is an error only when the text is used
            tables.append(table.append_column(FILE, pa.repeat(pa.scalar(number, pa.int32()), len(table))))
        except (OSError, pa.ArrowException, ValueError) as error:  # ValueError: a column's name that is no UTF-8
            place = f"{out}/{folder.rpartition('/')[2]}/{name}"
            damaged.append(f"{place} cannot be read ({' '.join(str(error).split())}).")
    if not tables:
        return pd.DataFrame(), damaged
    table = pa.concat_tables(tables, promote_options="permissive").unify_dictionaries()
    frame: pd.DataFrame = table.to_pandas(self_destruct=True, split_blocks=True)
    return frame, damaged

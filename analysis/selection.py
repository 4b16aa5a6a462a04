"""A part of a store: the trials that have some values of some settings."""

import difflib
from collections.abc import Collection, Mapping
from dataclasses import replace
from typing import Any

import pandas as pd

from analysis.roles import is_number, text_of, values_of
from analysis.store import StoredTrials, StoreError

Selection = Mapping[str, Collection[Any]]
"""Values by setting. `context` is the setting, `curve` a curve's label. Values may be texts."""


def parsed(texts: Collection[str], store: StoredTrials) -> Selection:
    """What `--select context=binary,complex` asks for. The same setting may be named more than once.

    A curve's label may have commas: a text that is a label as a whole is not divided.

    Raises:
        StoreError: a text without `=`.
    """
    found: dict[str, list[str]] = {}
    for text in texts:
        name, is_there, values = text.partition("=")
        if not is_there:
            raise StoreError(f"--select {text} names no values; write SETTING=VALUE, such as context=binary,complex.")
        labels = store.trials["curve"].unique()
        found.setdefault(name, []).extend([values] if name == "curve" and values in labels else values.split(","))
    return found


def select(store: StoredTrials, selection: Selection) -> StoredTrials:
    """The store with those trials alone that have these values.

    Raises:
        StoreError: a setting is no column of the store, no trial has a value, or no trial has all.
    """
    if not selection:
        return store
    kept = store.trials
    for name, values in selection.items():
        kept = kept[_has(store.trials, name, values).loc[kept.index]]
    if kept.empty:
        texts = (f"{name}={','.join(map(text_of, values))}" for name, values in selection.items())
        raise StoreError(f"No trial of this store has {' and '.join(texts)} together.")
    ids = {*kept["trial_id"]}
    return replace(
        store,
        trials=kept.reset_index(drop=True),
        evals=_of(store.evals, ids),
        curves=_of(store.curves, ids),
        diverged=_of(store.diverged, ids),
        crosstalk=_of(store.crosstalk, ids),
        predictions=_of(store.predictions, ids),
        cells=[cell for cell in store.cells if not ids.isdisjoint(cell.measured)],
    )


def _of(rows: pd.DataFrame, ids: set[str]) -> pd.DataFrame:
    return rows if rows.empty else rows[rows["trial_id"].isin(ids)].reset_index(drop=True)


def _has(trials: pd.DataFrame, name: str, values: Collection[Any]) -> "pd.Series[bool]":
    """Which trials have one of these values."""
    if name not in trials:
        near = difflib.get_close_matches(name, map(str, trials), 1)
        raise StoreError(f"{name!r} is no setting of this store{f'; {near[0]!r} is' if near else ''}.")
    known = values_of(trials, name)
    chosen = []
    for value in values:
        same = [other for other in known if _is(other, value)]
        if not same:
            raise StoreError(f"No trial has {name}={text_of(value)}; there is {', '.join(map(text_of, known))}.")
        chosen += same
    is_null = trials[name].isna() if None in chosen else False
    return trials[name].isin([value for value in chosen if value is not None]) | is_null


def _is(value: object, asked: object) -> bool:
    """Whether a value is meant: itself, the number of a text, or what figures call the value."""
    if is_number(value):
        try:
            return float(str(asked)) == value
        except ValueError:
            return False
    return str(asked).lower() == text_of(value).lower()

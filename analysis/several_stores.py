"""Several stores as one: each trial says in which it is."""

import json
import re
from collections.abc import Collection, Sequence
from dataclasses import replace
from typing import Final

import pandas as pd

from analysis.experiments import PROBLEM
from analysis.tuned import Cell

STORE: Final = "store"


def names_of(outs: Sequence[str]) -> list[str]:
    """What figures call each store: the end of its place, as long as it takes to tell all apart."""
    parts = [without_query(out).rstrip("/").split("/") for out in outs]
    for length in range(1, 1 + max(map(len, parts))):
        names = ["/".join(part[-length:]) for part in parts]
        if len(set(names)) == len(names):
            return names
    return [f"{without_query(out)} {place}" for place, out in enumerate(outs)]


def without_query(out: str) -> str:
    """A store's place without what may be secret: user, password and parameters of a URI."""
    return re.sub(r"://[^/?]*@", "://", out).partition("?")[0] if "://" in out else out


def of_store(trials: pd.DataFrame, name: str) -> pd.DataFrame:
    """The trials with a setting `store`, and ids that no other store has."""
    apart = [json.dumps(json.loads(text) | {STORE: name}, sort_keys=True) for text in trials["experiment"]]
    return trials.assign(store=name, experiment=apart, trial_id=id_in(trials["trial_id"].astype(str), name))


def told_by_store(trials: pd.DataFrame, settings: Collection[str]) -> list[str]:
    """The settings that vary among several stores and in none of them: whoever knows the store knows them.

    Args:
        trials: a row for each trial, with columns `settings`.
        settings: among them STORE, where there are several stores. The settings PROBLEM are never told by the store.
    """
    if STORE not in settings:
        return []
    others = [name for name in settings if name not in (STORE, "context", "width", *PROBLEM)]
    varying = [name for name in others if trials[name].nunique(dropna=False) > 1]
    numbers = trials.groupby(STORE, observed=True)[varying].nunique(dropna=False)
    return [name for name in varying if (numbers[name] == 1).all()]


def measured_in(rows: pd.DataFrame, name: str) -> pd.DataFrame:
    """Measurements, with their trials' new ids."""
    if rows.empty:
        return rows
    ids = rows["trial_id"].astype("category")
    return rows.assign(trial_id=ids.cat.rename_categories(list(id_in(pd.Series(ids.cat.categories, dtype=str), name))))


def id_in(ids: "pd.Series[str]", name: str) -> "pd.Series[str]":
    """The trials' ids in this store."""
    return ids + f"@{name}"


def cells_in(cells: Sequence[Cell], name: str) -> list[Cell]:
    """What a store chose, with its trials' new ids."""
    return [
        replace(
            cell,
            cell={**cell.cell, STORE: name},
            tried=[replace(one, trials=[f"{trial}@{name}" for trial in one.trials]) for one in cell.tried],
            measured=[f"{trial}@{name}" for trial in cell.measured],
        )
        for cell in cells
    ]


def joined(frames: Sequence[pd.DataFrame]) -> pd.DataFrame:
    """The rows of all frames; ids are categories where there are any."""
    some = [frame for frame in frames if not frame.empty]
    if len(some) < 2:
        return some[0] if some else frames[0]
    ids = pd.api.types.union_categoricals([frame["trial_id"].astype("category") for frame in some])
    return pd.concat(some, ignore_index=True).assign(trial_id=ids)

"""A store in a few lines: of each curve its mean accuracy, its best row, its capacity and its best learning rate."""

from collections.abc import Iterator
from typing import Any, Final

import pandas as pd

from analysis.roles import name_of, text_of
from analysis.store import StoredTrials, StoreError
from analysis.summary import summarise
from analysis.table_text import capacity_words, with_half, written

MOST_CURVES: Final = 12


def brief(store: StoredTrials, out: str) -> Iterator[str]:
    """The lines, made of the rows of `psp table`; none of a store without accuracies.

    A curve with several rows, such as one for each width, has the mean over them, and the accuracy, the settings and
    the learning rate of its best row; and the largest of their capacities.

    Args:
        store: a trial store.
        out: its place, for the command that tells more.
    """
    try:
        summary = summarise(store)
    except StoreError:
        return
    rows = summary.rows.dropna(subset="accuracy")
    curves = [curve for _, curve in rows.groupby("context", sort=False, observed=True)]
    settings = [name for name in summary.settings if name != "context"]
    others = [name for name in settings if any(curve[name].nunique(dropna=False) > 1 for curve in curves)]
    shown = sorted(curves, key=lambda curve: -curve["accuracy"].mean())[:MOST_CURVES]
    columns: dict[str, list[str]] = {}
    for curve in shown:
        for name, text in _cells(curve, others, has_rates=rows["lr"].nunique() > 1).items():
            columns.setdefault(name, []).append(text)
    if not columns:
        return
    over = f", mean over {' and '.join(map(name_of, others))}" if others else ""
    yield f"Each curve{over}, the best first:"
    yield from written(columns, "text").splitlines()
    if len(curves) > len(shown):
        yield f"and {len(curves) - len(shown)} more"
    yield f"More, with intervals and notes: psp table {out}"


def _cells(curve: pd.DataFrame, others: list[str], *, has_rates: bool) -> dict[str, str]:
    """The cells of one curve by their heading."""
    best = _largest(curve, "accuracy")
    accuracy = with_half(100 * best["accuracy"], 100 * best.get("accuracy_low", float("nan")), ".1f")
    cells = {"curve": text_of(best["context"]), "tasks": text_of(best["tasks"])}
    if others:
        cells["mean accuracy (%)"] = f"{100 * curve['accuracy'].mean():.1f}"
        where = (f"{name_of(name)} {text_of(best[name])}" for name in others if not pd.isna(best[name]))
        cells |= {"best (%)": accuracy, "at": ", ".join(where)}
    else:
        cells["accuracy (%)"] = accuracy
    if has_rates:
        cells["best lr"] = text_of(best["lr"])
    if "capacity" in curve:
        cells["capacity"] = capacity_words(_largest(curve, "capacity"))
    return cells


def _largest(rows: pd.DataFrame, column: str) -> "pd.Series[Any]":
    """The first row that has the largest number there; any row where none has a number."""
    return rows.sort_values(column, ascending=False, kind="stable", na_position="last").iloc[0]

"""By how much one curve beats another, over seeds that both have."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from scipy.special import stdtrit

from analysis.law import Estimate
from analysis.report.wording import listed, named
from analysis.roles import text_of
from analysis.several_stores import STORE


@dataclass(frozen=True)
class Difference:
    """By how much one curve's final accuracy is above another's.

    Attributes:
        one: the curve that is higher.
        other: the other one.
        by: the difference of the means, a fraction, with its 95% interval.
        pairs: over how many seeds that both have; 0 where they share none and the means are compared.
    """

    one: str
    other: str
    by: Estimate
    pairs: int

    def __str__(self) -> str:
        """A sentence without its end."""
        one, other, points = named(self.one), named(self.other), f"{100 * self.by.value:.1f} points"
        if np.isnan(self.by.low):
            return (
                f"{one} ends {points} above {other} (one seed)" if points != "0.0 points" else f"{one} ends as {other}"
            )
        interval = f"95% interval {100 * self.by.low:.1f} to {100 * self.by.high:.1f}; paired over {self.pairs} seeds"
        if self.by.low <= 0 <= self.by.high:
            return f"{one} and {other} cannot be told apart: {points} ({interval})"
        return f"{one} ends {points} above {other} ({interval})"


def difference(one: "pd.Series[float]", other: "pd.Series[float]") -> Estimate:
    """The mean difference over seeds that both have, with Student's 95% interval; NaN where they share none.

    Trials of one seed learn the same tasks from the same first weights, so the seeds' own differences cancel.

    Args:
        one: accuracies by seed.
        other: likewise.
    """
    gaps = (one - other).dropna().to_numpy()
    if len(gaps) < 2:
        return Estimate(float(gaps.mean()) if len(gaps) else np.nan)
    half = float(stdtrit(len(gaps) - 1, 0.975)) * gaps.std(ddof=1) / np.sqrt(len(gaps))
    return Estimate(float(gaps.mean()), float(gaps.mean() - half), float(gaps.mean() + half))


def differences(some: pd.DataFrame) -> list[Difference]:
    """The best curve against the second, and the best against `none`, or else against the last.

    Args:
        some: columns context, seed, accuracy: one row for each trial.
    """
    by_seed = {name: rows.groupby("seed")["accuracy"].mean() for name, rows in some.groupby("context", observed=True)}
    ranked = sorted(by_seed, key=lambda name: -by_seed[name].mean())
    if len(ranked) < 2:
        return []
    base = "none" if "none" in ranked[1:] else ranked[-1]
    found = []
    for other in dict.fromkeys([ranked[1], base]):
        by = difference(by_seed[ranked[0]], by_seed[other])
        if by.value == by.value:
            pairs = len(by_seed[ranked[0]].index.intersection(by_seed[other].index))
            found.append(Difference(text_of(ranked[0]), text_of(other), by, pairs))
    return found


def _gaps(rows: pd.DataFrame) -> Iterator[dict[str, Any]]:
    """One curve's accuracy in each further store less that in the first one."""
    accuracies = {str(name): one.groupby("seed")["accuracy"].mean() for name, one in rows.groupby(STORE, sort=False)}
    first, *others = accuracies
    for name in others:
        by = difference(accuracies[name], accuracies[first])
        if by.value == by.value:
            yield {"curve": named(rows["context"].iloc[0]), "in": name, "beside": first, "by": by}


def between_stores(some: pd.DataFrame) -> Iterator[str]:
    """Of each further store, which curves end as in the first one, and by how much others differ.

    Args:
        some: columns store, context, tasks_seen, seed, accuracy: one row for each trial.
    """
    curves = some.groupby(["context", "tasks_seen"], observed=True)
    gaps = pd.DataFrame([row for _, rows in curves for row in _gaps(rows)], columns=["curve", "in", "beside", "by"])
    for (name, first), rows in gaps.groupby(["in", "beside"], sort=False):
        is_same = rows["by"].map(lambda by: by.value == 0 and not by.low < 0).astype(bool)
        if is_same.any():
            ends = "ends" if is_same.sum() == 1 else "end"
            yield f"{listed(rows.loc[is_same, 'curve'].tolist())} {ends} in {name} exactly as in {first}"
        for curve, by in rows.loc[~is_same, ["curve", "by"]].itertuples(index=False):
            interval = "" if np.isnan(by.low) else f" [{100 * by.low:.1f}, {100 * by.high:.1f}]"
            yield f"{curve} {100 * by.value:+.1f}{interval} points in {name} beside {first}"

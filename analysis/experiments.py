"""What tells experiments apart: the settings that some trial of the store has at another value than usual.

A trial's `experiment` has these settings, as JSON: all that differ from their defaults, but for those that its curve's
label speaks of, width, lr, seed and the number of tasks. So a setting that nobody here has heard of counts as well.
"""

import functools
import json
from collections.abc import Collection
from typing import Any, Final

import pandas as pd

from analysis.labels import pieces

# What is beside each measurement and tells no experiments apart: what was measured, of which trial, and when.
OF_TRIALS: Final = ("trial_id", "tasks_seen", "task", "accuracy", "lr", "seed", "num_tasks", "eval_every", "eval_from")
PROBLEM: Final = ("dataset", "stream", "stream_tasks")  # what is learned: never another from curve to curve


@functools.cache
def unusual(experiment: str) -> dict[str, Any]:
    """The settings of an experiment that are not at their defaults."""
    found: dict[str, Any] = json.loads(experiment)
    return found


def settings_apart(trials: pd.DataFrame) -> list[str]:
    """The settings that are not at their defaults somewhere: the trials' columns in their order, then others."""
    found = {setting for text in trials.get("experiment", pd.Series()).unique() for setting in unusual(text)}
    return [*(column for column in trials if column in found), *sorted(found.difference(trials))]


def values_apart(trials: pd.DataFrame, setting: str) -> "pd.Series[Any]":
    """The values of a setting that tells experiments apart.

    Where a trial's label speaks of the setting, or its column is null, the value is that of the trials that have the
    setting at its default; null where there is no such trial, or the default is none.
    """
    stored = trials[setting] if setting in trials else pd.Series(None, index=trials.index, dtype=object)
    is_unusual = trials["experiment"].map(lambda text: setting in unusual(text)).astype(bool)
    is_said = ~is_unusual & trials["curve_of"].map(lambda text: setting in pieces(text)).astype(bool)
    usual = stored[~is_unusual & ~is_said].dropna()
    found = stored.mask(is_said | (~is_unusual & stored.isna()), usual.iloc[0] if len(usual) else None)
    lacking = is_unusual & stored.isna()
    if lacking.any():
        found = found.astype(object).where(~lacking, trials["experiment"].map(lambda text: unusual(text).get(setting)))
    return found


def settings_shown(evals: pd.DataFrame) -> list[str]:
    """The settings beside measurements that tell curves and experiments apart: all but lr and seed."""
    return [str(column) for column in evals if column not in OF_TRIALS]


def of_curves(trials: pd.DataFrame, settings: Collection[str]) -> list[str]:
    """Which of these settings belong to the curves: they differ, but each curve has one value.

    A rival is published with its own optimiser. So its optimiser belongs to its curve and does not split the figure,
    unless some curve has two. Captions say what differs from curve to curve. What is learned splits figures always.

    Args:
        trials: a row each, with `context`, the curve's label, and the settings.
        settings: that tell curves and experiments apart.
    """
    others = [name for name in settings if name not in ("context", "width", *PROBLEM)]
    numbers = trials.groupby("context", observed=True)[others].nunique(dropna=False)
    return [name for name in others if trials[name].nunique(dropna=False) > 1 and (numbers[name] == 1).all()]

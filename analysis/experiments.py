"""The settings that tell a store's experiments apart: those that some trial has at another value than the default.

The store's column `experiment` has them as JSON: each setting that differs from its default, but for width, lr, seed,
the number of tasks and what the curve's label speaks of. So no list here has to know a setting.
"""

import functools
import json
from collections.abc import Collection
from typing import Any, Final

import pandas as pd

from analysis.labels import pieces

# Columns of evals that are no settings, or that every figure shows or averages over.
OF_TRIALS: Final = (
    *("trial_id", "tasks_seen", "task", "accuracy", "lr", "seed", "num_tasks", "num_labels", "eval_every", "eval_from"),
)
PROBLEM: Final = ("dataset", "stream", "stream_tasks")  # curves of one figure have learned the same


@functools.cache
def unusual(experiment: str) -> dict[str, Any]:
    """The settings that differ from their defaults, from a row's `experiment`."""
    found: dict[str, Any] = json.loads(experiment)
    return found


def settings_apart(trials: pd.DataFrame) -> list[str]:
    """The settings that differ from their defaults in some trial, by the alphabet."""
    return sorted({setting for text in trials.get("experiment", pd.Series()).unique() for setting in unusual(text)})


def values_apart(trials: pd.DataFrame, setting: str) -> "pd.Series[Any]":
    """A setting's value for each trial.

    A trial has the default where its label speaks of the setting, and where its column is null because the store is
    older than the setting. The default is what other trials have in whose `experiment` the setting is absent; it is
    null where there is no such trial.
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
    """The settings in the columns of evals, but for lr and seed: they tell curves and experiments apart."""
    return [str(column) for column in evals if column not in OF_TRIALS]


def of_curves(trials: pd.DataFrame, settings: Collection[str]) -> list[str]:
    """Those of the settings that belong to the curves: they vary, but each curve has one value.

    A rival is published with its own optimiser. So its optimiser belongs to its curve and does not split the figure,
    unless one curve has two. Captions say which curve has which value. The settings PROBLEM always split figures.

    Args:
        trials: a row for each trial: `context`, the curve's label, and the settings.
        settings: columns of trials.
    """
    others = [name for name in settings if name not in ("context", "width", *PROBLEM)]
    varying = [name for name in others if trials[name].nunique(dropna=False) > 1]
    numbers = trials.groupby("context", observed=True)[varying].nunique(dropna=False)
    return [name for name in varying if (numbers[name] == 1).all()]

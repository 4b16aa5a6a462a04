"""The labels of curves: `complex x100, local-mix`, `none, head per task`, `batche`.

The store's column `curve` has a trial's label. `curve_of` has the label's pieces by setting, as JSON, so that a figure
that runs over a setting can leave out the setting's piece.
"""

import functools
import json
from collections.abc import Collection
from typing import Final

import pandas as pd

CONTEXTS: Final = [  # in the order of legends
    "none",
    *("binary", "complex", "one-power", "rotation"),  # the paper's
    *("structured-rotation", "rotation-powers", "householder", "permutation", "signed-permutation"),
    *("hadamard", "fourier", "plain-complex", "mask", "structured-rotation-1", "ternary", "gaussian"),
]


@functools.cache
def pieces(curve_of: str) -> dict[str, str]:
    """A label's pieces by setting, from a row's `curve_of`. The first piece is the curve's name."""
    found: dict[str, str] = json.loads(curve_of)
    return found


def labelled_settings(trials: pd.DataFrame) -> list[str]:
    """The settings that some label speaks of and that are columns, but for `context`, by the alphabet."""
    found = {setting for curve_of in trials.get("curve_of", pd.Series()).unique() for setting in pieces(curve_of)}
    return sorted(found.intersection(trials) - {"context"})


def labels_without(trials: pd.DataFrame, unsaid: Collection[str]) -> list[str]:
    """The labels without the pieces of some settings. The first piece always stays.

    A label stays whole where its trials could not be told apart without the pieces.

    Args:
        trials: columns curve, curve_of and `unsaid`.
        unsaid: the settings.
    """
    quiet = trials["curve_of"].map({text: _without(text, unsaid) for text in trials["curve_of"].unique()})
    trials = trials[[*unsaid, "curve"]].assign(quiet=quiet)
    alike = trials.groupby(["quiet", *unsaid], dropna=False)["curve"].transform("nunique")
    return trials["quiet"].where(alike == 1, trials["curve"]).tolist()


def _without(curve_of: str, unsaid: Collection[str]) -> str:
    (_, name), *others = pieces(curve_of).items()
    return name + "".join(piece for setting, piece in others if setting not in unsaid)


def whole_stream_tasks(trials: pd.DataFrame) -> pd.Series:
    """The number of tasks, where the whole trial depends on that number (as the number of masks can); else 0."""
    whole = ~trials["nested_tasks"] | (trials["num_cycles"] > 1) | trials["new_mask_eps"].notna()
    return trials["num_tasks"].where(whole, 0)


def tell_numbers_of_tasks_apart(trials: pd.DataFrame) -> pd.Series:
    """The labels. A label has the number of tasks too, where its schedule depends on it and trials differ in it."""
    whole = ~trials["nested_contexts"] & (trials["stream_tasks"] == 0)
    if trials.loc[whole, "num_tasks"].nunique() < 2:
        return trials["context"]
    return trials["context"].where(~whole, trials["context"] + ", " + trials["num_tasks"].astype(str) + " tasks")

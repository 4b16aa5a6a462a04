"""The labels of curves, as the store has them: `complex x100, local-mix`, `none, head per task`, `batche`.

A trial's `curve` is its label. Its `curve_of` says which setting each piece of the label is about, so that a figure
that runs over a setting can leave its piece out.
"""

import functools
import json
from collections.abc import Collection
from typing import Final

import pandas as pd

CONTEXTS: Final = [  # in the order of a legend
    "none",
    *("binary", "complex", "one-power", "rotation"),  # the paper's
    *("structured-rotation", "rotation-powers", "householder", "permutation", "signed-permutation"),
    *("hadamard", "fourier", "plain-complex", "mask", "structured-rotation-1", "ternary", "gaussian"),
]


@functools.cache
def pieces(curve_of: str) -> dict[str, str]:
    """A label's pieces by the setting that each is about. The first piece is the curve's name."""
    found: dict[str, str] = json.loads(curve_of)
    return found


def labelled_settings(trials: pd.DataFrame) -> list[str]:
    """The settings that some label speaks of, in the order of the trials' columns, but for `context`, the label's."""
    found = {setting for curve_of in trials.get("curve_of", pd.Series()).unique() for setting in pieces(curve_of)}
    return [column for column in trials if column in found and column != "context"]


def labels_without(trials: pd.DataFrame, unsaid: Collection[str]) -> list[str]:
    """The labels without their pieces about some settings; whole where trials could then not be told apart.

    Args:
        trials: columns curve, curve_of and `unsaid`.
        unsaid: settings; the first piece stays, whatever it is about.
    """
    quiet = trials["curve_of"].map({text: _without(text, unsaid) for text in trials["curve_of"].unique()})
    trials = trials[[*unsaid, "curve"]].assign(quiet=quiet)
    alike = trials.groupby(["quiet", *unsaid], dropna=False)["curve"].transform("nunique")
    return trials["quiet"].where(alike == 1, trials["curve"]).tolist()


def _without(curve_of: str, unsaid: Collection[str]) -> str:
    (_, name), *others = pieces(curve_of).items()
    return name + "".join(piece for setting, piece in others if setting not in unsaid)


def whole_stream_tasks(trials: pd.DataFrame) -> pd.Series:
    """The number of tasks, where a trial as a whole depends on it, as its number of masks may; else 0."""
    whole = ~trials["nested_tasks"] | (trials["num_cycles"] > 1) | trials["new_mask_eps"].notna()
    return trials["num_tasks"].where(whole, 0)


def tell_numbers_of_tasks_apart(trials: pd.DataFrame) -> pd.Series:
    """The labels, with the number of tasks where a schedule depends on it and the trials have several."""
    whole = ~trials["nested_contexts"] & (trials["stream_tasks"] == 0)
    if trials.loc[whole, "num_tasks"].nunique() < 2:
        return trials["context"]
    return trials["context"].where(~whole, trials["context"] + ", " + trials["num_tasks"].astype(str) + " tasks")

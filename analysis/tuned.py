"""What a study chose by itself: its settings are no part of a curve's label, for the curve has each at its best."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import pandas as pd
import pyarrow.fs as pafs

from analysis.experiments import unusual
from analysis.labels import pieces

FILE: Final = "tuning.json"

Row = dict[str, Any]
"""Settings by their short names."""


@dataclass(frozen=True, kw_only=True)
class Tried:
    """One combination that was tried.

    Attributes:
        values: the settings that were chosen among.
        accuracy: mean over tasks and seeds on validation images, a fraction.
        trials: ids of its trials, one for each seed.
    """

    values: Row
    accuracy: float
    trials: list[str]


@dataclass(frozen=True, kw_only=True)
class Cell:
    """A variant of a study at one value of each axis, whose best settings were chosen.

    Attributes:
        cell: the other settings that the study gives it.
        chosen: the settings that were chosen.
        tried: all combinations that were tried.
        measured: ids of the trials that were measured with the best ones.
        search: `grid`, `random` or `optuna`.
    """

    cell: Row
    chosen: Row
    tried: list[Tried]
    measured: list[str]
    search: str


def read_cells(fs: pafs.FileSystem, root: str) -> list[Cell]:
    """What the store at a place says was chosen; nothing of a store that has no such file, or a damaged one."""
    try:
        with fs.open_input_stream(f"{root}/{FILE}") as stream:
            content = json.loads(stream.read())
        return [_cell(each, content["search"]) for each in content["cells"]]
    except (OSError, ValueError, KeyError, TypeError):
        return []


def _cell(content: Row, search: str) -> Cell:
    tried = [
        Tried(values=_in_words(one["values"]), accuracy=one["accuracy"], trials=one["trials"])
        for one in content["tried"]
    ]
    chosen = _in_words(content["chosen"])
    return Cell(cell=content["cell"], chosen=chosen, tried=tried, measured=content["measured"], search=search)


def _in_words(values: Row) -> Row:
    """Settings, of which a part with settings of its own is a text: `xdg 0.8`."""
    return {
        column: " ".join(map(str, value.values())) if isinstance(value, dict) else value
        for column, value in values.items()
    }


def settled(trials: pd.DataFrame, cells: Sequence[Cell]) -> pd.DataFrame:
    """The trials, of which those with chosen settings say nothing of these in `curve`, `curve_of` and `experiment`.

    A column `tuned` has the names of a trial's chosen settings, as JSON; null of other trials.
    """
    chosen = {name: list(cell.chosen) for cell in cells for name in cell.measured}
    tuned = trials["trial_id"].map(chosen)
    is_tuned = tuned.notna()
    if not is_tuned.any():
        return trials
    told = trials[is_tuned]
    of = [without_pieces(text, names) for text, names in zip(told["curve_of"], tuned[is_tuned], strict=True)]
    setups = [
        {setting: value for setting, value in unusual(text).items() if setting not in names}
        for text, names in zip(told["experiment"], tuned[is_tuned], strict=True)
    ]
    trials = trials.assign(tuned=tuned.map(json.dumps, na_action="ignore"))
    trials.loc[is_tuned, "curve"] = ["".join(left.values()) for left in of]
    trials.loc[is_tuned, "curve_of"] = [json.dumps(left) for left in of]
    trials.loc[is_tuned, "experiment"] = [json.dumps(left, sort_keys=True) for left in setups]
    return trials


def without_pieces(curve_of: str, names: Sequence[str]) -> dict[str, str]:
    """A label's pieces by setting, without those of some settings; the first piece stays."""
    (first, name), *others = pieces(curve_of).items()
    return {first: name} | {setting: piece for setting, piece in others if setting not in names}

"""The trial store's columns and their types: a contract with everything that reads its files.

All columns are made from what the parts say of their settings and results; what they mean stands in the files, as
metadata of each column.
"""

import types
from collections.abc import Mapping
from typing import Any, Final, get_args, get_origin

import pyarrow as pa

from psp_core.experiments import EXPERIMENTS
from psp_core.methods import METHODS
from psp_core.outcome import Outcome
from psp_core.parts import Setting
from psp_core.prediction import PREDICTIONS
from psp_core.result import CURVES, EVALS, OUTCOMES
from psp_core.retrieval import CROSSTALK
from psp_core.trial import FACTS

_PLAIN: Final = {int: pa.int32(), float: pa.float64(), bool: pa.bool_(), str: pa.string()}


def _field(name: str, kind: Any, text: str, *, is_large: bool = False) -> pa.Field:  # noqa: ANN401 - the type is data
    if isinstance(kind, types.UnionType):
        kind = get_args(kind)[0]
    named = _PLAIN.get(kind, pa.string())  # names of parts and of choices
    if get_origin(kind) is tuple:
        named = pa.list_(pa.int32())
    return pa.field(name, pa.int64() if is_large else named, metadata={"text": text})


def _settings() -> list[pa.Field]:
    """In the order of the first schema, then others."""
    every: dict[str, Setting] = {}  # of a column that several kinds have, the first one's text
    for root in EXPERIMENTS.values():
        every |= {one.column: one for one in root.columns_of_settings() if one.column not in every}
    names = dict.fromkeys([*(name for root in EXPERIMENTS.values() for name in root.at_first), *every])
    return [_field(name, every[name].kind, every[name].text, is_large=name == "seed") for name in names]


def _outcomes(outcomes: Mapping[str, Outcome]) -> list[pa.Field]:
    return [_field(name, each.kind, each.text, is_large=each.is_large) for name, each in outcomes.items()]


def _of_methods(which: str, *, within: bool = False) -> dict[str, Outcome]:
    """What any method adds, or any that measures within tasks; of a column that several have the first text."""
    columns: dict[str, Outcome] = {}
    for method in METHODS.values():
        if method.can_measure_within or not within:
            columns = getattr(method, which) | columns
    return columns


_ABOUT: Final = [
    ("trial_id", str, "The hash of the trial's settings."),
    ("study", str, "The study that ran it."),
    ("status", str, "ok, diverged or failed."),
    ("error", str, "What went wrong, if something did."),
]
_DESCRIBED: Final = [
    ("curve", str, "The label of the trial's curve in figures."),
    ("curve_of", str, "JSON: what the label says of each setting, by column, in order."),
    ("experiment", str, "JSON: the other settings that are not at their defaults, but for width, lr, seed, num_tasks."),
]
_RUN: Final = [
    ("seconds", float, "The trial's share of its pack's time."),
    ("device", str, "What it ran on."),
]

TRIALS: Final = pa.schema(
    [
        *(_field(*column) for column in _ABOUT),
        *_settings(),
        *(_field(*column) for column in _DESCRIBED),
        *_outcomes(FACTS | OUTCOMES | _of_methods("outcomes")),
        *(_field(*column) for column in _RUN),
    ]
)


def _table(columns: Mapping[str, Outcome]) -> pa.Schema:
    return pa.schema([_field(*_ABOUT[0]), *_outcomes(columns)])


MEASURED: Final = {
    "evals": _table(EVALS | _of_methods("answers")),
    "curves": _table(CURVES | _of_methods("answers", within=True)),
    "crosstalk": _table(CROSSTALK),
    "predictions": _table(PREDICTIONS),
}
"""The other tables."""

"""Laws of capacity, and where they cross, as tables."""

from collections.abc import Iterator, Sequence
from typing import Any, Final

import numpy as np
import pandas as pd

from analysis.bounds import BITS_A_PARAMETER, feature_exponent
from analysis.law import REFUSED, THRESHOLDS, Crossing, Estimate, Law, crossings_of, laws, predicted_laws
from analysis.roles import name_of, text_of
from analysis.store import StoredTrials, StoreError
from analysis.summary import check_threshold, whole
from analysis.table_text import NAMES, written

LAW_NOTES: Final = (
    "K = a width^b: K tasks keep a mean accuracy of this share of task 0's when new. Brackets: 95% interval, by "
    "resampling seeds within each width.",
    "K lies between the last number of tasks that kept the share and the first that did not. Trials that kept all "
    "their tasks, or one task alone, are censored.",
)
FIT_NOTE: Final = (
    "Lack of fit: the p-value of a power of width against a capacity of its own at each width, by an F-test; below "
    f"{REFUSED} the power is refused, as one of twenty true ones is."
)
PREDICTED_NOTE: Final = (
    "Predicted: the same of the accuracy that theories predict from the network of task 0 alone (docs/theory.md), with "
    "the same seeds resampled. The theory of noise as weights moved is about task 0, and has no capacity."
)
CROSSING_NOTES: Final = (
    "The larger capacity in wider networks is the first curve's. Brackets: the widths at which neither is surely the "
    "larger (95%); < or >: beyond the widths looked at, from half the measured ones to twice.",
)


def law_table(
    store: StoredTrials, format: str, threshold: float | None, *, num_tasks: int | None = None, crossings: bool = False
) -> tuple[str, Sequence[str]]:
    """The laws of a store, or where they cross, written, and notes.

    Args:
        store: a trial store.
        format: text, csv, markdown or latex.
        threshold: the share of a single task's accuracy that is kept. [default: each of THRESHOLDS]
        num_tasks: as `summarise` has it.
        crossings: where laws cross, instead of the laws.

    Raises:
        StoreError: as `summarise`, or no trial has a capacity, or no two curves have a law.
    """
    thresholds = THRESHOLDS if threshold is None else (threshold,)
    for each in thresholds:
        check_threshold(each)
    measured = whole(store, num_tasks)
    found = [laws(measured, each) for each in thresholds]
    every = [law for some in found for law in some]
    if not every:
        raise StoreError(
            "No trial of this store has a capacity: it needs a stream without cycles, a model with a width, and all "
            "tasks measured after the first one and after others (eval_tasks: all, or num_tasks as an axis)."
        )
    if not crossings:
        predicted = [law for some in found for law in predicted_laws(measured, some)]
        beside = [law for ours in every for law in (ours, *(each for each in predicted if each.beside is ours))]
        return law_text(beside, format), [
            *LAW_NOTES,
            FIT_NOTE,
            *([PREDICTED_NOTE] if predicted else []),
            *_bounds(every),
        ]
    pairs = [pair for some in found for pair in crossings_of(some)]
    if not pairs:
        reasons = dict.fromkeys(f"{law.name}: {law.reason}" for law in every if law.reason)
        raise StoreError(f"No two curves of this store have a law at common widths. {'; '.join(reasons)}.")
    return crossing_text(pairs, format), CROSSING_NOTES


def _bounds(laws: Sequence[Law]) -> Iterator[str]:
    """What published bounds say of these laws."""
    widths = sorted({width for law in laws for width in law.widths})
    if laws[0].trials["by_heart"].notna().any():
        yield (
            "Label bits: those of the training labels that K tasks show, over the shared parameters. Transformers hold "
            f"about {BITS_A_PARAMETER} of random strings (Morris et al. 2025, arXiv 2505.24832); above that, tasks "
            "cannot be known by heart."
        )
    if len(widths) > 1:
        yield (
            f"Exponents beside these: {feature_exponent(widths):.2f} between these widths by n^2 / log n, the features "
            "that n neurons compute at most (Adler and Shavit 2024, arXiv 2409.15318), if a task needs a fixed number; "
            "1 for vectors in a bundle, up to a logarithm (docs/bounds.md)."
        )


def law_rows(laws: Sequence[Law]) -> pd.DataFrame:
    """One row for each law: every number as it is; NaN where there is none."""
    return pd.DataFrame([_law_row(law) for law in laws])


def _law_row(law: Law) -> dict[str, Any]:
    shown = {"exponent": law.exponent, "scale": law.scale} if law.is_fitted else {}
    tasks = {f"tasks_at_{text_of(width)}": law.tasks(width) for width in law.widths} if law.is_fitted else {}
    bits = {f"label_bits_at_{text_of(width)}": law.label_bits(width) for width in law.widths} if law.is_fitted else {}
    ratios = {f"over_measured_at_{text_of(width)}": law.over_measured(width) for width in law.widths if law.beside}
    return {
        **law.curve,
        "source": law.source,
        "kept": law.threshold,
        "least_width": law.widths[0],
        "most_width": law.widths[-1],
        "trials": len(law.trials),
        "kept_all": law.num_above,
        "kept_one": law.num_below,
        **{
            name: value
            for key, one in (shown | tasks | bits | ratios).items()
            for name, value in _columns(key, one).items()
        },
        "note": law.reason,
    }


def crossing_rows(crossings: Sequence[Crossing]) -> pd.DataFrame:
    """One row for each pair of laws: every number as it is; NaN where there is none."""
    return pd.DataFrame([_crossing_row(one) for one in crossings])


def _crossing_row(one: Crossing) -> dict[str, Any]:
    return {
        "curve": one.upper.name,
        "other": one.lower.name,
        "kept": one.upper.threshold,
        **_columns("width", one.width or Estimate(np.nan)),
        "nearest_width": one.near,
        **_columns("ratio", one.ratio or Estimate(np.nan)),
    }


def _columns(name: str, one: Estimate) -> dict[str, float]:
    return {name: one.value, f"{name}_low": one.low, f"{name}_high": one.high}


def law_text(laws: Sequence[Law], format: str) -> str:
    """The laws as text, CSV, Markdown or LaTeX."""
    if format == "csv":
        return law_rows(laws).to_csv(index=False).rstrip("\n")
    middle = _middle(laws)
    columns = {NAMES.get(name, name_of(name)): [text_of(law.curve[name]) for law in laws] for name in laws[0].curve}
    columns |= {
        "capacity": [law.source if any(each.beside for each in laws) else "" for law in laws],
        "kept": [f"{law.threshold:.0%}" for law in laws],
        "widths": [f"{text_of(law.widths[0])} to {text_of(law.widths[-1])}" for law in laws],
        "trials": [str(len(law.trials)) for law in laws],
        "kept all": [str(law.num_above) for law in laws],
        "kept one": [str(law.num_below) for law in laws],
        "exponent b": [in_brackets(law.exponent, ".2f") if law.is_fitted else "" for law in laws],
        "lack of fit": [fit_text(law) for law in laws],
        f"K at width {text_of(middle)}": [
            in_brackets(law.tasks(middle), ".3g") if law.is_fitted else "" for law in laws
        ],
        "label bits a parameter there": [_label_bits(law, middle) for law in laws],
        "predicted over measured there": [_ratio(law, middle) for law in laws],
        "note": [law.reason for law in laws],
    }
    return written({name: cells for name, cells in columns.items() if any(cells)}, format)


def _label_bits(law: Law, width: float) -> str:
    if not law.is_fitted or width not in law.widths or np.isnan(bits := law.label_bits(width).value):
        return ""
    return f"{bits:.2g}"


def fit_text(law: Law) -> str:
    """`p = 0.43`, `refused, p < 0.001`; nothing where there is no test."""
    p = law.lack_of_fit
    said = "" if np.isnan(p) else "p < 0.001" if p < 0.001 else f"p = {p:.2g}"
    return f"refused, {said}" if law.is_refused else said


def _ratio(law: Law, width: float) -> str:
    ratio = law.over_measured(width)
    return "" if np.isnan(ratio.value) else in_brackets(ratio, ".2g")


def _middle(laws: Sequence[Law]) -> float:
    """The measured width in the middle."""
    widths = sorted({width for law in laws for width in law.widths})
    return widths[len(widths) // 2]


def crossing_text(crossings: Sequence[Crossing], format: str) -> str:
    """The crossings as text, CSV, Markdown or LaTeX."""
    if format == "csv":
        return crossing_rows(crossings).to_csv(index=False).rstrip("\n")
    columns = {
        "curve": [one.upper.name for one in crossings],
        "kept": [f"{one.upper.threshold:.0%}" for one in crossings],
        "holds": [_holds(one) for one in crossings],
    }
    return written(columns, format)


def _holds(one: Crossing) -> str:
    """`more than binary from width 43 [38, 51] on`, or how near the two are."""
    if one.width is not None:
        return f"more than {one.lower.name} from width {in_brackets(one.width, '.3g')} on"
    assert one.ratio is not None
    ratio = in_brackets(one.ratio, ".3g")
    return f"more than {one.lower.name} at all widths; at width {text_of(one.near)}, where least, {ratio} times"


def in_brackets(one: Estimate, form: str) -> str:
    """`0.72 [0.66, 0.80]`; `[<, 51]` where an end lies beyond what was looked at; without an interval the value."""
    if np.isnan(one.low):
        return format(one.value, form)
    low = "<" if one.low == 0 else format(one.low, form)
    high = ">" if np.isinf(one.high) else format(one.high, form)
    return f"{format(one.value, form)} [{low}, {high}]"

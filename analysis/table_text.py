"""Writes tables as text, CSV, Markdown or LaTeX."""

from collections.abc import Mapping, Sequence
from typing import Any, Final

import pandas as pd
from tabulate import tabulate

from analysis.roles import name_of, text_of
from analysis.store import StoredTrials, StoreError
from analysis.summary import MEANS, Summary, summarise

FORMATS: Final = {"text": "simple", "csv": "", "markdown": "pipe", "latex": "latex_booktabs"}
LATEX: Final = {"±": r"$\pm$", "≥": r"$\geq$"}
NAMES: Final = {
    "context": "curve",
    "kept_bytes": "bytes kept",
    "answer_bytes": "bytes to answer",
    "answer_bytes_per_task": "bytes a task",
    "total_bytes": "bytes",
    "context_bytes_per_task": "context bytes a task",
    "train_flops": "training operations",
    "answer_flops": "operations to answer",
}


def check_format(format: str) -> None:
    """Refuse an unknown format.

    Raises:
        StoreError: the format is not in FORMATS.
    """
    if format not in FORMATS:
        raise StoreError(f"format={format!r} is not known; use one of {', '.join(FORMATS)}.")


def written(columns: Mapping[str, Sequence[str]], format: str) -> str:
    """A table of texts, by heading.

    Args:
        columns: the cells below each heading.
        format: text, markdown or latex.
    """
    table = tabulate(columns, headers="keys", tablefmt=FORMATS[format], disable_numparse=True, stralign="right")
    for symbol, command in LATEX.items() if format == "latex" else ():
        table = table.replace(symbol, command)
    return table


def summary_table(
    store: StoredTrials, format: str, threshold: float, *, num_tasks: int | None = None
) -> tuple[str, list[str]]:
    """The summary of a store, written, and its notes; arguments and errors as `summarise` has them."""
    summary = summarise(store, threshold=threshold, num_tasks=num_tasks)
    return summary_text(summary, format), summary.notes


def summary_text(summary: Summary, format: str) -> str:
    """The rows of a summary. Accuracies are in per cent, but fractions in CSV, which has all numbers as they are.

    Columns of settings that do not vary, and of what no row has, are left out.
    """
    if format == "csv":
        return summary.rows.dropna(axis="columns", how="all").to_csv(index=False).rstrip("\n")
    return written(summary_columns(summary), format)


def summary_columns(summary: Summary) -> dict[str, list[str]]:
    """The cells of a summary as texts, by heading."""
    rows = summary.rows.dropna(axis="columns", how="all")
    names = {**NAMES, "lr": "best lr" if summary.is_best_lr else "lr"}
    lr = ["lr"] if summary.is_best_lr or rows["lr"].nunique() > 1 else []
    plain = [*summary.settings, *lr, "tasks", "trials", *(name for name in ("diverged",) if name in rows)]
    columns = {names.get(name, name_of(name)): [_plain(value) for value in rows[name]] for name in plain}
    columns |= {f"{name} (%)": _percentages(rows, name) for name in MEANS if name in rows}
    if "capacity" in rows:
        columns["capacity"] = [capacity_words(row) for _, row in rows.iterrows()]
    columns |= {NAMES.get(name, name_of(name)): [_number(value) for value in rows[name]] for name in summary.costs}
    return columns


def _plain(value: Any) -> str:  # noqa: ANN401 - any setting's
    return "" if pd.isna(value) else text_of(value)


def _percentages(rows: pd.DataFrame, name: str) -> list[str]:
    sign = "" if name == "accuracy" else "+"
    low = rows.get(f"{name}_low", pd.Series(index=rows.index, dtype=float))
    return [with_half(100 * mean, 100 * bound, f"{sign}.1f") for mean, bound in zip(rows[name], low, strict=True)]


def with_half(mean: float, low: float, form: str) -> str:
    """A mean and half of its interval; the mean alone where there is no interval, nothing where there is no mean."""
    if pd.isna(mean):
        return ""
    return format(mean, form) + ("" if pd.isna(low) else f" ± {format(mean - low, form.lstrip('+'))}")


def capacity_words(row: "pd.Series[Any]") -> str:
    """`12.3 ± 1.1`; `≥ 40.0` where trials kept all their tasks; `10.0 to 25.0` where not all numbers were measured."""
    mean, below = row["capacity"], row["capacity_below"]
    if pd.isna(mean):
        return ""
    if row["at_end"]:
        return f"≥ {mean:.1f}"
    if below - mean > 1.01:
        return f"{mean:.1f} to {below:.1f}"
    return with_half(mean, row.get("capacity_low", float("nan")), ".1f")


def _number(value: float) -> str:
    """Three digits with a prefix: `12.3k`."""
    if pd.isna(value):
        return ""
    for size, prefix in ((1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k")):
        if abs(value) >= size:
            return f"{value / size:.3g}{prefix}"
    return f"{value:.3g}"

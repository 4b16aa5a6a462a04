"""The stored trials beside the papers' published values, as a Markdown table."""

from collections.abc import Iterator
from importlib import resources
from typing import Final

import numpy as np
import pandas as pd

from analysis.store import StoreError, read_store
from analysis.tables import first_task, over_seeds

# What the papers' runs share and their tables do not list (papers' text and the authors' code).
PAPER_SETTINGS: Final = {
    "steps_per_task": 1000,
    "batch_size": 128,
    "optimiser": "rmsprop",
    "momentum": 0.0,
    "lr": 1e-4,
    "permute_first": False,
}
SETUP: Final = ["dataset", "stream", "depth", "width", "context"]


def compare_store(out: str) -> str:
    """A table for each published figure that the store's trials can be put beside.

    Accuracies in per cent: the paper's, ours (mean over seeds, with its 95% interval where there
    are two seeds or more), and the difference. Only trials with the paper's settings count.

    Raises:
        StoreError: no store at that place, or none of its trials has a published counterpart.
    """
    evals = read_store(out).evals
    tables = [] if evals.empty else list(_all_tables(evals))
    if not tables:
        raise StoreError(f"out={out!r} holds no trial with settings that a published value is known for.")
    return "\n\n".join(tables)


def _all_tables(evals: pd.DataFrame) -> Iterator[str]:
    for setting, value in PAPER_SETTINGS.items():
        evals = evals[evals[setting] == value]
    for source, rows in published().groupby("source"):
        for _, trials in evals.groupby("learned_contexts"):  # never mixed: they are different methods
            yield from _tables(str(source), rows, trials)


def published() -> pd.DataFrame:
    """Every published value we know: setup, number of tasks seen, value (a fraction), how sure."""
    with resources.files("analysis").joinpath("published.csv").open() as file:
        return pd.read_csv(file)


def _tables(source: str, rows: pd.DataFrame, evals: pd.DataFrame) -> Iterator[str]:
    ours = evals.merge(rows[SETUP].drop_duplicates(), on=SETUP)
    if ours.empty:
        return
    # The same trial measured in two ways counts once.
    trained = ", contexts trained during their task" if ours["learned_contexts"].any() else ""
    ours = first_task(ours).drop_duplicates(["context", "width", "seed", "tasks_seen"])
    seen = sorted(rows["tasks_seen"].unique())
    setup = rows.iloc[0]
    seeds = ours["seed"].nunique()
    yield "\n".join(
        [
            f"### {source}: {setup['quantity']} (%) after training so many tasks",
            "",
            f"{setup['stream']} {setup['dataset']}, {setup['depth']} hidden layers; the paper's values: "
            f"{setup['certainty']}; ours: {seeds} seed{'s' if seeds > 1 else ''}{trained}"
            + (", mean ± half of the 95% interval." if seeds > 1 else "."),
            "",
            "| width | context | | " + " | ".join(str(n) for n in seen) + " |",
            "|---|---|---|" + "---|" * len(seen),
            *_lines(rows, ours, seen),
        ]
    )


def _lines(rows: pd.DataFrame, ours: pd.DataFrame, seen: list[int]) -> Iterator[str]:
    summary = over_seeds(ours, ["width", "context", "tasks_seen"], "accuracy")
    for (width, context), paper in rows.groupby(["width", "context"], sort=False):
        curve = summary[(summary["width"] == width) & (summary["context"] == context)]
        if curve.empty:
            continue
        curve = 100 * curve.set_index("tasks_seen")[["mean", "low", "high"]].reindex(seen)
        theirs = 100 * paper.set_index("tasks_seen")["value"].reindex(seen)
        half = (curve["high"] - curve["low"]) / 2
        cells = {
            "paper": [_cell(value, ".1f") for value in theirs],
            "ours": [
                _cell(mean, ".1f") + ("" if np.isnan(band) else f" ± {band:.1f}")
                for mean, band in zip(curve["mean"], half, strict=True)
            ],
            "difference": [_cell(value, "+.1f") for value in curve["mean"] - theirs],
        }
        for label, row in cells.items():
            yield f"| {width} | {context} | {label} | " + " | ".join(row) + " |"


def _cell(value: float, form: str) -> str:
    return "-" if np.isnan(value) else format(value, form)

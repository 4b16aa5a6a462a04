"""The stored trials beside the papers' published values, as a Markdown table."""

from collections.abc import Iterator
from importlib import resources
from typing import Final

import pandas as pd

from analysis.store import StoreError, read_store
from analysis.tables import first_task, interval_95

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
        yield from _tables(str(source), rows, evals)


def published() -> pd.DataFrame:
    """Every published value we know: setup, number of tasks seen, value (a fraction), how sure."""
    with resources.files("analysis").joinpath("published.csv").open() as file:
        return pd.read_csv(file)


def _tables(source: str, rows: pd.DataFrame, evals: pd.DataFrame) -> Iterator[str]:
    ours = evals.merge(rows[SETUP].drop_duplicates(), on=SETUP)
    if ours.empty:
        return
    # The same trial measured in two ways counts once.
    ours = first_task(ours).drop_duplicates(["context", "width", "seed", "tasks_seen"])
    seen = sorted(rows["tasks_seen"].unique())
    setup = rows.iloc[0]
    seeds = ours["seed"].nunique()
    yield "\n".join(
        [
            f"### {source}: {setup['quantity']} (%) after training so many tasks",
            "",
            f"{setup['stream']} {setup['dataset']}, {setup['depth']} hidden layers; the paper's values: "
            f"{setup['certainty']}; ours: {seeds} seed{'s' if seeds > 1 else ''}"
            + (", mean ± half of the 95% interval." if seeds > 1 else "."),
            "",
            "| width | context | | " + " | ".join(str(n) for n in seen) + " |",
            "|---|---|---|" + "---|" * len(seen),
            *_lines(rows, ours, seen),
        ]
    )


def _lines(rows: pd.DataFrame, ours: pd.DataFrame, seen: list[int]) -> Iterator[str]:
    for (width, context), paper in rows.groupby(["width", "context"], sort=False):
        trials = ours[(ours["width"] == width) & (ours["context"] == context)]
        if trials.empty:
            continue
        theirs = paper.set_index("tasks_seen")["value"]
        values = {n: trials.loc[trials["tasks_seen"] == n, "accuracy"] for n in seen}
        cells = {
            "paper": [f"{100 * theirs[n]:.1f}" for n in seen],
            "ours": [_mean(values[n]) for n in seen],
            "difference": [f"{100 * (values[n].mean() - theirs[n]):+.1f}" if len(values[n]) else "-" for n in seen],
        }
        for label, row in cells.items():
            yield f"| {width} | {context} | {label} | " + " | ".join(row) + " |"


def _mean(values: "pd.Series[float]") -> str:
    if values.empty:
        return "-"
    low, high = interval_95(values)
    return f"{100 * values.mean():.1f}" + (f" ± {50 * (high - low):.1f}" if low == low else "")

"""One row for each curve and its settings: accuracy, forgetting, transfer, capacity and cost, over seeds."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

import numpy as np
import pandas as pd

from analysis.captions import fixed, tuned
from analysis.experiments import settings_shown
from analysis.measured import Measured, chance
from analysis.roles import Roles, in_order
from analysis.several_stores import told_by_store
from analysis.store import StoredTrials, StoreError
from analysis.tables import THRESHOLD, capacity_bounds, mean_accuracy, over_seeds, settings_of
from analysis.transfer import backward_transfer, forgetting, forward_transfer

MEANS: Final = ("accuracy", "forgetting", "backward", "forward")
COSTS: Final = (
    *("kept_bytes", "answer_bytes", "answer_bytes_per_task", "total_bytes", "context_bytes_per_task"),
    *("train_flops", "answer_flops", "seconds"),
)
"""Columns of the store that are shown where it has them."""
INSTEAD: Final = {"total_bytes": "kept_bytes", "context_bytes_per_task": "answer_bytes_per_task"}
"""Columns that say less than a later one, and are shown of stores that lack the later one."""


@dataclass(frozen=True)
class Summary:
    """The rows, and what has to be known to read them.

    Attributes:
        rows: columns `settings`, tasks (K), lr, trials (how many), diverged (how many more), and for each of MEANS its
            mean, NAME_low and NAME_high (95% interval, Student's t); capacity and capacity_below (means of
            `tables.capacity_bounds`), capacity_low and capacity_high (the interval, where each capacity is known to the
            task), at_end (trials that kept all tasks); and COSTS that the store has. NaN: not measured, or not defined.
        settings: the settings that vary: the curve as `context`, `width`, and others.
        costs: those of COSTS that are columns.
        notes: sentences.
        is_best_lr: whether several learning rates were tried, of which each row has its best.
    """

    rows: pd.DataFrame
    settings: list[str]
    costs: list[str]
    notes: list[str]
    is_best_lr: bool


def summarise(store: StoredTrials, *, threshold: float = THRESHOLD, num_tasks: int | None = None) -> Summary:
    """The rows of a store, each at its best learning rate where several were tried.

    Args:
        store: a trial store.
        threshold: capacity is the most tasks with this share of a single task's accuracy.
        num_tasks: after how many tasks; trials of more count as they were then. [default: after the last]

    Raises:
        StoreError: no trial was measured, or none after so many tasks; a stream with cycles has no such number; or the
            threshold is no share.
    """
    check_threshold(threshold)
    measured = whole(store, num_tasks)
    by, trials = measured.settings, measured.trials
    rows = _rows(measured, by, threshold)
    costs = _known_costs(trials) if num_tasks is None else []
    rows = _with_costs(rows, measured, by, costs)
    notes = list(_notes(measured, threshold, num_tasks))
    return Summary(rows, by, costs, notes, _tries_rates(measured))


def check_threshold(threshold: float) -> None:
    """Refuse what is no share of an accuracy.

    Raises:
        StoreError: the threshold is not in (0, 1].
    """
    if not 0 < threshold <= 1:
        raise StoreError(f"threshold={threshold:g} must lie above 0, and at most at 1: a share of one task's accuracy.")


def whole(store: StoredTrials, num_tasks: int | None = None) -> Measured:
    """All of a store's measurements as one, whose `settings` tell all rows of a table apart.

    Raises:
        StoreError: as `summarise`.
    """
    if store.evals.empty:
        raise StoreError("This store holds no measured accuracy: retrieval has none, and see psp status.")
    cut = store if num_tasks is None else _after(store, num_tasks)
    roles = Roles(x=tuple(_varying(cut.evals)), panel=None)
    return Measured(cut.evals, cut.trials, predictions=cut.predictions, diverged=cut.diverged, roles=roles)


def _varying(evals: pd.DataFrame) -> list[str]:
    """The curve, the width, and the other settings that vary, but for lr and the number of tasks."""
    trials = settings_of(evals, settings_shown(evals))
    known = ("context", "width", "stream_tasks", *told_by_store(trials, settings_shown(evals)))
    others = [name for name in settings_shown(evals) if name not in known]
    return ["context", "width", *(name for name in others if trials[name].nunique(dropna=False) > 1)]


def _after(store: StoredTrials, num_tasks: int) -> StoredTrials:
    """The trials of at least so many tasks, as they were after these."""
    if store.evals["num_cycles"].max() > 1:
        raise StoreError(
            f"tasks={num_tasks}: this store's stream goes through its tasks more than once, and after the first cycle "
            "the number of tasks stored no longer grows. Leave --tasks out."
        )
    whole = (store.evals["stream_tasks"] > 0) & (store.evals["num_tasks"] != num_tasks)
    evals = store.evals[(store.evals["num_tasks"] >= num_tasks) & ~whole]
    evals = evals[evals["tasks_seen"] <= num_tasks]
    at_end = mean_accuracy(evals)
    there = at_end.loc[at_end["tasks_seen"] == num_tasks, "trial_id"]
    if there.empty:
        known = ", ".join(f"{number:g}" for number in sorted(mean_accuracy(store.evals)["tasks_seen"].unique()))
        raise StoreError(f"tasks={num_tasks}: no trial measured all tasks after {num_tasks}; known: after {known}.")
    evals = evals[evals["trial_id"].isin(there)].reset_index(drop=True).assign(num_tasks=num_tasks)
    return replace(store, evals=evals)


def _rows(measured: Measured, by: Sequence[str], threshold: float) -> pd.DataFrame:
    """The summary's rows without costs."""
    evals = measured.best_lr
    of_trials = settings_of(evals, [*by, "num_tasks", "lr", "seed", "num_cycles"])
    accuracy = mean_accuracy(evals)
    last = evals.groupby("trial_id", observed=True)["tasks_seen"].max()
    accuracy = accuracy[accuracy["tasks_seen"] == accuracy["trial_id"].map(last)]
    once = evals[evals["num_cycles"] == 1]
    found = [accuracy, forgetting(once), backward_transfer(once), forward_transfer(once, measured.trials)]
    bounds = capacity_bounds(once, threshold)
    for frame in (*found, bounds.rename(columns={"num_tasks": "most"})):
        columns = ["trial_id", *(name for name in (*MEANS, "at_least", "below", "most") if name in frame)]
        of_trials = of_trials.merge(frame[columns].astype({"trial_id": object}), on="trial_id", how="left")
    key = [*by, "num_tasks", "lr"]
    rows = of_trials.groupby(key, dropna=False).size().rename("trials").reset_index()
    rows = rows.merge(_diverged(measured, [*by, "lr"]), on=[*by, "lr"], how="left")
    for name in MEANS:
        rows = rows.merge(_mean(of_trials, key, name), on=key, how="left")
    rows = rows.merge(_capacity(of_trials, key), on=key, how="left")
    rows = rows.rename(columns={"num_tasks": "tasks"})
    return rows.sort_values([*by, "tasks"], key=_places, ignore_index=True)


def _places(values: "pd.Series[Any]") -> "pd.Series[Any]":
    """A column of a setting as places in the order of legends."""
    return values.map({value: place for place, value in enumerate(in_order(values.dropna().unique().tolist()))})


def _mean(of_trials: pd.DataFrame, key: list[str], name: str) -> pd.DataFrame:
    """The mean over those seeds that have a value: columns key, name, name_low, name_high."""
    means = over_seeds(of_trials.dropna(subset=name), key, name)
    return means.rename(columns={"mean": name, "low": f"{name}_low", "high": f"{name}_high"}).drop(columns="size")


def _capacity(of_trials: pd.DataFrame, key: list[str]) -> pd.DataFrame:
    """Columns key, capacity, capacity_below, capacity_low, capacity_high, at_end."""
    known = of_trials.dropna(subset="at_least")
    known = known.assign(at_end=np.isinf(known["below"]), exact=known["below"] == known["at_least"] + 1)
    rows = over_seeds(known, key, "at_least")
    rows = rows.rename(columns={"mean": "capacity", "low": "capacity_low", "high": "capacity_high"})
    groups = known.groupby(key, dropna=False)
    more = groups.agg(capacity_below=("below", "mean"), at_end=("at_end", "sum"), exact=("exact", "all")).reset_index()
    rows = rows.drop(columns="size").merge(more, on=key)
    rows[["capacity_low", "capacity_high"]] = rows[["capacity_low", "capacity_high"]].where(rows["exact"])
    return rows.drop(columns="exact")


def _diverged(measured: Measured, key: list[str]) -> pd.DataFrame:
    """Columns key, diverged."""
    if measured.diverged.empty:
        return pd.DataFrame(columns=[*key, "diverged"])
    return measured.diverged.groupby(key, dropna=False).size().rename("diverged").reset_index()


def _known_costs(trials: pd.DataFrame) -> list[str]:
    """Those of COSTS that are known of some trial, and say what no other does."""
    known = {name for name in COSTS if name in trials and trials[name].notna().any()}
    ok = trials[trials["status"] == "ok"]
    double = {name for name, later in INSTEAD.items() if later in known and ok[later].notna().all()}
    return [name for name in COSTS if name in known - double]


def _with_costs(rows: pd.DataFrame, measured: Measured, by: Sequence[str], costs: list[str]) -> pd.DataFrame:
    """The rows with the mean of each cost over the trials that have it."""
    of_trials = settings_of(measured.best_lr, [*by, "num_tasks", "lr"]).rename(columns={"num_tasks": "tasks"})
    of_trials = of_trials.merge(measured.trials[["trial_id", *costs]], on="trial_id")
    key = [*by, "tasks", "lr"]
    return rows.merge(of_trials.groupby(key, dropna=False)[costs].mean().reset_index(), on=key, how="left")


def _tries_rates(measured: Measured) -> bool:
    tried = settings_of(measured.evals, [*measured.settings, "lr"])
    return bool(tried.groupby(measured.settings, dropna=False)["lr"].nunique().max() > 1)


def _notes(measured: Measured, threshold: float, num_tasks: int | None) -> Iterator[str]:
    evals = measured.best_lr
    yield "Means over seeds ± half of their 95% interval (Student's t); blank: not measured, or not defined."
    if num_tasks:
        yield f"After {num_tasks} tasks, of trials that trained so many or more; their costs were not measured then."
    yield (
        "Accuracy: mean over all tasks in the end. Forgetting: a task's best before the end, less its accuracy in the "
        f"end. Backward transfer: in the end, less when new. {_about_forward(measured)} "
        f"Capacity: the most tasks with a mean accuracy of {threshold:.0%} of task 0's when new; "
        "≥: trials kept all their tasks, and count with their number; a to b: not every number was measured."
    )
    if evals["num_cycles"].max() > 1:
        yield "A stream with cycles trains its tasks again: it has no forgetting, transfer or capacity."
    if _tries_rates(measured):
        counted = "" if measured.diverged.empty else "; a trial that diverged counted as chance"
        rates = ", ".join(f"{lr:g}" for lr in sorted(measured.evals["lr"].unique()))
        images = "validation" if measured.is_validated else "test"
        yield f"Each row at its best lr of {rates}, chosen by this accuracy, so on {images} images{counted}."
    if text := tuned(measured, settings_of(evals, ["context"])):
        yield text
    if measured.is_validated:
        yield "All of this was measured on validation images."
    chances = chance(settings_of(evals, ["num_labels"])).dropna().unique()
    if len(chances) == 1:
        yield f"Chance: {chances[0]:.1%}."
    yield fixed(measured, settings_of(evals, ["lr"]))


def _about_forward(measured: Measured) -> str:
    """Of what the table takes the accuracy of a task alone."""
    once = measured.best_lr[measured.best_lr["num_cycles"] == 1]
    rows = forward_transfer(once, measured.trials).dropna(subset="forward")
    less_first = "less task 0's when new, where all tasks are alike"
    if not rows["is_over_alone"].any():
        return f"Forward transfer: when new, {less_first}."
    others = in_order(rows.loc[~rows["is_over_alone"], "context"].unique())
    of_others = f"; without such a net ({', '.join(others)}), {less_first}" if others else ""
    return (
        "Forward transfer: when new, less what an independent net reaches that is trained on the task alone, with the "
        f"same seed and settings, at its own best lr{of_others}."
    )

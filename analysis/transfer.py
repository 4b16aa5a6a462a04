"""Forgetting and transfer of each trial, from its matrix R[i, j]: accuracy on task j after training through task i.

K tasks, numbered from 0; accuracies are fractions. A trial has a value only where every R[i, j] of its definition was
measured: a mean over some tasks, or a maximum over some moments, is another quantity. All definitions are of streams
without cycles, whose tasks are each trained once.
"""

from collections.abc import Callable
from typing import Any, Final

import numpy as np
import pandas as pd

from analysis.tables import trials_of

ALIKE: Final = {"permuting": ("mlp", "lenet-300-100")}  # by stream, the models for which its tasks are equally hard


def forgetting(evals: pd.DataFrame) -> pd.DataFrame:
    """How much of its best accuracy a task has lost at the end: columns TRIAL, forgetting.

    mean over j < K-1 of (max over j <= i < K-1 of R[i, j]) - R[K-1, j]

    It is negative where a task ends better than it ever was. Source: Chaudhry et al. 2018, "Riemannian walk for
    incremental learning", section 3, after the last task.
    """
    return _mean_of_old(evals, lambda earlier, new, last: earlier - last, "forgetting")


def backward_transfer(evals: pd.DataFrame) -> pd.DataFrame:
    """What later tasks have added to a task's accuracy: columns TRIAL, backward.

    mean over j < K-1 of R[K-1, j] - R[j, j]

    It is negative where they have taken some away. Source: Lopez-Paz and Ranzato 2017, "Gradient episodic memory for
    continual learning", section 2.
    """
    return _mean_of_old(evals, lambda earlier, new, last: last - new, "backward")


def forward_transfer(evals: pd.DataFrame) -> pd.DataFrame:
    """What earlier tasks have added to the accuracy of a newly trained task: columns TRIAL, forward.

    mean over j > 0 of R[j, j] - R[0, 0]

    R[0, 0] is the accuracy of a fresh network that was trained on one task alone. It stands for each task alone where
    all tasks are equally hard for a fresh network: pixels in another order (`ALIKE`), to which no fully connected
    network has a preference. Other trials have no value.

    Source: Lopez-Paz and Ranzato 2017 ask for R[j-1, j], a task's accuracy before it is trained, over a network's that
    was not trained at all. No trial measures this. Chaudhry et al. 2018 take the accuracy after the task's training
    (their intransigence, whose sign is the other) against a network trained on all tasks up to this one at once.
    """
    alike = [evals[evals["model"].isin(models) & (evals["stream"] == stream)] for stream, models in ALIKE.items()]
    some = pd.concat(alike)
    new = some[some["tasks_seen"] == some["task"] + 1]
    first = new[new["task"] == 0].set_index("trial_id")["accuracy"]
    later = new[new["task"] > 0]
    gained = later["accuracy"].to_numpy() - later["trial_id"].astype(object).map(first).to_numpy(dtype=float)
    rows = later[["trial_id"]].astype(object).assign(gained=gained).groupby("trial_id")["gained"].agg(["mean", "size"])
    whole = rows["size"] == some.groupby("trial_id", observed=True)["tasks_seen"].max().reindex(rows.index) - 1
    trials = trials_of(evals)
    return trials.assign(forward=trials["trial_id"].map(rows.loc[whole, "mean"]).astype(float))


Of = Callable[[Any, Any, Any], Any]  # of a task's best before the end, when it was new, and in the end


def _mean_of_old(evals: pd.DataFrame, of: Of, name: str) -> pd.DataFrame:
    """The mean of a quantity over all tasks but the newest: columns TRIAL, name."""
    codes, names = pd.factorize(evals["trial_id"])
    task, seen, accuracy = (evals[column].to_numpy() for column in ("task", "tasks_seen", "accuracy"))
    ends = np.zeros(len(names), dtype=np.int64)
    np.maximum.at(ends, codes, seen)
    is_end = seen == ends[codes]
    shape = (len(names), int(task.max(initial=0)) + 1)
    new, last = np.full(shape, np.nan), np.full(shape, np.nan)
    for grid, rows in ((new, seen == task + 1), (last, is_end)):
        grid[codes[rows], task[rows]] = accuracy[rows]
    best, times = np.full(shape, -np.inf), np.zeros(shape, dtype=np.int64)
    np.maximum.at(best, (codes[~is_end], task[~is_end]), accuracy[~is_end])
    np.add.at(times, (codes[~is_end], task[~is_end]), 1)
    before = ends[:, np.newaxis] - 1 - np.arange(shape[1])  # how often a task can have been measured before the end
    is_old = before > 0
    values = np.where(is_old, of(np.where(times == before, best, np.nan), new, last), 0)
    count = is_old.sum(axis=1)
    means = np.divide(values.sum(axis=1), count, out=np.full(len(names), np.nan), where=count > 0)
    return trials_of(evals).assign(**{name: means})

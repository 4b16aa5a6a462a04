"""Forgetting and transfer of each trial, from its matrix R[i, j]: accuracy on task j after training through task i.

K tasks, numbered from 0; accuracies are fractions. A trial has a value only where every R[i, j] of its definition was
measured: a mean over some tasks, or a maximum over some moments, is another quantity. All definitions are of streams
without cycles, whose tasks are each trained once.
"""

from collections.abc import Callable
from typing import Any, Final

import numpy as np
import pandas as pd

from analysis.experiments import settings_shown
from analysis.labels import pieces
from analysis.tables import TRIAL, settings_of, trials_of

ALIKE: Final = {"permuting": ("mlp", "lenet-300-100")}  # by stream, the models for which its tasks are equally hard


def forgetting(evals: pd.DataFrame) -> pd.DataFrame:
    """How much of its best accuracy a task has lost at the end: columns TRIAL, forgetting.

    mean over j < K-1 of (max over j <= i < K-1 of R[i, j]) - R[K-1, j]

    It is negative where a task ends better than it ever was. Source: Chaudhry et al. 2018, "Riemannian walk for
    incremental learning", section 3, after the last task.
    """
    return _mean_of_old(evals, lambda earlier, new, last: earlier - last, "forgetting")


def forgetting_so_far(evals: pd.DataFrame) -> pd.DataFrame:
    """Forgetting after each number of tasks, as `forgetting` after the last: columns TRIAL, tasks_seen, forgetting.

    There is a row only where every R[i, j] of the definition was measured.
    """
    rows = evals[[*TRIAL, "tasks_seen", "task", "accuracy"]].astype({"trial_id": object})
    rows = rows.sort_values(["trial_id", "task", "tasks_seen"], kind="stable")
    of_task = rows.groupby(["trial_id", "task"], sort=False)
    rows = rows.assign(best=of_task["accuracy"].cummax().groupby([rows["trial_id"], rows["task"]]).shift())
    rows = rows.assign(lost=rows["best"] - rows["accuracy"], before=of_task.cumcount())
    old = rows[(rows["task"] < rows["tasks_seen"] - 1) & (rows["before"] == rows["tasks_seen"] - 1 - rows["task"])]
    found = old.groupby([*TRIAL, "tasks_seen"], observed=True, dropna=False)["lost"].agg(["mean", "size"]).reset_index()
    found = found[found["size"] == found["tasks_seen"] - 1]
    return found.rename(columns={"mean": "forgetting"}).drop(columns="size").reset_index(drop=True)


def backward_transfer(evals: pd.DataFrame) -> pd.DataFrame:
    """What later tasks have added to a task's accuracy: columns TRIAL, backward.

    mean over j < K-1 of R[K-1, j] - R[j, j]

    It is negative where they have taken some away. Source: Lopez-Paz and Ranzato 2017, "Gradient episodic memory for
    continual learning", section 2.
    """
    return _mean_of_old(evals, lambda earlier, new, last: last - new, "backward")


def forward_transfer(evals: pd.DataFrame, trials: pd.DataFrame) -> pd.DataFrame:
    """What earlier tasks have added to the accuracy of a newly trained task: columns TRIAL, forward, is_over_alone.

    mean over j > 0 of R[j, j] - A[j]

    A[j] is the accuracy of a network that was trained on task j alone. Where the store has independent nets without
    contexts (`trunk: independent`) for all of a curve's seeds, A[j] is theirs, of the same seed, and of the same data
    set, stream, model, steps and whatever else both have but the learning rate, which is each curve's best;
    `is_over_alone` says so. Else A[j] is R[0, 0], which stands for each task alone where all tasks are equally hard for
    a fresh network: pixels in another order (`ALIKE`), to which no fully connected network has a preference. Other
    trials have no value.

    Args:
        evals: measurements.
        trials: as in `analysis.store.StoredTrials`; they say which nets are independent.

    Source: Lopez-Paz and Ranzato 2017 ask for R[j-1, j], a task's accuracy before it is trained, over a network's that
    was not trained at all. No trial measures this. Chaudhry et al. 2018 take the accuracy after the task's training
    (their intransigence, whose sign is the other) against a network trained on all tasks up to this one at once.
    """
    new = evals[evals["tasks_seen"] == evals["task"] + 1]
    later = new[new["task"] > 0].astype({"trial_id": object})
    over_alone = _mean_gained(later, _alone(later, trials), evals)
    settings = settings_shown(evals)
    rows = settings_of(evals, [*TRIAL[1:], *settings])
    rows["alone"] = rows["trial_id"].map(over_alone)
    rows["is_over_alone"] = (
        rows["alone"].notna().groupby([rows[name] for name in settings], dropna=False).transform("all")
    )
    is_alike = pd.Series(False, index=later.index)
    for stream, models in ALIKE.items():
        is_alike |= (later["stream"] == stream) & later["model"].isin(models)
    first = later["trial_id"].map(new[new["task"] == 0].set_index("trial_id")["accuracy"])
    over_first = _mean_gained(later, first.where(is_alike), evals)
    forward = rows["alone"].where(rows["is_over_alone"], rows["trial_id"].map(over_first)).astype(float)
    return rows[TRIAL].assign(forward=forward, is_over_alone=rows["is_over_alone"])


def _alone(later: pd.DataFrame, trials: pd.DataFrame) -> "pd.Series[float]":
    """For each new task the accuracy of an independent net on it; NaN where there is none."""
    if "trunk" not in trials:
        return pd.Series(np.nan, index=later.index)
    known = trials[(trials["trunk"] == "independent") & (trials["method"] == "standard")]
    known = known[known["curve_of"].map(lambda text: pieces(text).keys() == {"context", "trunk"}).astype(bool)]
    there = later[later["trial_id"].isin(known["trial_id"])]
    lacking = [name for name in known if known[name].isna().all()]  # settings of other methods
    by = [*(name for name in settings_shown(later) if name not in ("context", *lacking)), "seed", "task"]
    nets = there[[*by, "accuracy"]].rename(columns={"accuracy": "alone"})
    return later[by].merge(nets, on=by, how="left").set_axis(later.index)["alone"]


def _mean_gained(later: pd.DataFrame, over: "pd.Series[float]", evals: pd.DataFrame) -> "pd.Series[float]":
    """By trial, the mean of what new tasks have above `over`, where that is known of all but task 0."""
    gained = (later["accuracy"] - over).groupby(later["trial_id"]).agg(["mean", "count"])
    last = evals.groupby("trial_id", observed=True)["tasks_seen"].max()
    return gained.loc[gained["count"] == last.reindex(gained.index) - 1, "mean"]


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

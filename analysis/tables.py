"""Tidy frames of what the trials measured: mean accuracy, task 0, loss by lag, capacity."""

from typing import Final

import numpy as np
import pandas as pd
from scipy.special import stdtrit

TRIAL: Final = ["trial_id", "context", "width", "lr", "seed"]  # what identifies a curve of one trial


def mean_accuracy(evals: pd.DataFrame) -> pd.DataFrame:
    """Mean accuracy over the tasks seen: columns TRIAL, tasks_seen, accuracy (a fraction).

    Only where all tasks seen were measured: a mean over some of them is another quantity.
    """
    rows = evals.groupby([*TRIAL, "tasks_seen"], as_index=False)["accuracy"].agg(["mean", "size"])
    complete = rows[rows["size"] == rows["tasks_seen"]]
    return complete.rename(columns={"mean": "accuracy"}).drop(columns="size").reset_index(drop=True)


def first_task(evals: pd.DataFrame) -> pd.DataFrame:
    """Accuracy of task 0 as later tasks are trained: columns TRIAL, tasks_seen, accuracy."""
    return evals.loc[evals["task"] == 0, [*TRIAL, "tasks_seen", "accuracy"]].reset_index(drop=True)


def interference(evals: pd.DataFrame) -> pd.DataFrame:
    """Accuracy lost after `lag` more tasks, R[j, j] - R[j + lag, j], mean over tasks j of a trial.

    Columns TRIAL, lag (1..K-1), lost (a fraction).
    """
    lag = evals["tasks_seen"] - 1 - evals["task"]
    first = evals.loc[lag == 0, ["trial_id", "task", "accuracy"]].rename(columns={"accuracy": "first"})
    later = evals[lag > 0].assign(lag=lag[lag > 0]).merge(first, on=["trial_id", "task"])
    later["lost"] = later["first"] - later["accuracy"]
    return later.groupby([*TRIAL, "lag"])["lost"].mean().reset_index()


def capacity(evals: pd.DataFrame, threshold: float) -> pd.DataFrame:
    """Each trial's capacity at `threshold` times its accuracy on a single task, R[0, 0].

    Columns TRIAL, capacity (tasks; 0 where none reaches the threshold), num_tasks (its upper bound).
    Trials that did not measure all tasks after each one are left out: theirs is not known.
    """
    curve = mean_accuracy(evals)
    rows = curve.groupby("trial_id")["tasks_seen"].transform("size")
    last = evals.groupby("trial_id")["tasks_seen"].max()
    curve = curve[rows == curve["trial_id"].map(last)]
    single = curve.loc[curve["tasks_seen"] == 1, ["trial_id", "accuracy"]].rename(columns={"accuracy": "single"})
    curve = curve.merge(single, on="trial_id")
    curve["reached"] = np.where(curve["accuracy"] >= threshold * curve["single"], curve["tasks_seen"], 0)
    columns = {"capacity": ("reached", "max"), "num_tasks": ("tasks_seen", "max")}
    return curve.groupby(TRIAL, as_index=False).agg(**columns)


def best_lr(evals: pd.DataFrame) -> pd.DataFrame:
    """The rows of each (context, width)'s best learning rate.

    Best by mean accuracy over all tasks after the last one, mean over seeds.
    """
    last = mean_accuracy(evals)
    last = last[last["tasks_seen"] == last.groupby("trial_id")["tasks_seen"].transform("max")]
    means = last.groupby(["context", "width", "lr"], as_index=False)["accuracy"].mean()
    best = means.loc[means.groupby(["context", "width"])["accuracy"].idxmax(), ["context", "width", "lr"]]
    return evals.merge(best, on=["context", "width", "lr"])


def over_seeds(frame: pd.DataFrame, by: list[str], value: str) -> pd.DataFrame:
    """Mean over seeds and its 95% interval: columns `by`, mean, low, high.

    The interval of the mean is Student's t; low and high are NaN for a single seed.
    """
    rows = frame.groupby(by)[value].agg(["mean", "std", "size"]).reset_index()
    half = stdtrit(rows["size"] - 1, 0.975) * rows["std"] / np.sqrt(rows["size"])
    return rows[[*by, "mean"]].assign(low=rows["mean"] - half, high=rows["mean"] + half)

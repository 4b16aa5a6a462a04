"""Tidy frames made of measurements: mean accuracy, accuracy of task 0, loss by lag, capacity."""

from collections.abc import Sequence
from typing import Final

import numpy as np
import pandas as pd
from scipy.special import stdtrit

TRIAL: Final = ["trial_id", "context", "width", "lr", "seed"]  # identify one trial's curve
THRESHOLD: Final = 0.9  # of capacity, as a share of a single task's accuracy, where nobody names another


def trials_of(evals: pd.DataFrame) -> pd.DataFrame:
    """One row for each trial: columns TRIAL."""
    return settings_of(evals, TRIAL[1:])


def settings_of(evals: pd.DataFrame, settings: Sequence[str]) -> pd.DataFrame:
    """One row for each trial: columns trial_id and these settings."""
    columns = list(dict.fromkeys(["trial_id", *settings]))
    trials = evals.loc[~evals["trial_id"].duplicated(), columns]
    names = [column for column in columns if trials[column].dtype == "category"]
    return trials.astype(dict.fromkeys(names, object)).reset_index(drop=True)


def mean_accuracy(evals: pd.DataFrame) -> pd.DataFrame:
    """Mean accuracy over the tasks seen: columns TRIAL, tasks_seen, accuracy (a fraction).

    There is a row only where all tasks seen were measured: a mean over some tasks is another quantity. A stream with
    cycles has num_tasks tasks, however many cycles.
    """
    rows = _means(evals, evals["tasks_seen"], evals["accuracy"])
    num_tasks = evals.loc[~evals["trial_id"].duplicated(), ["trial_id", "num_tasks"]]
    most = rows["trial_id"].map(num_tasks.astype({"trial_id": object}).set_index("trial_id")["num_tasks"])
    complete = rows["size"] == np.minimum(rows["tasks_seen"], most)
    return rows[complete].drop(columns="size").reset_index(drop=True)


def final_accuracy(evals: pd.DataFrame) -> pd.DataFrame:
    """Each trial's last row of `mean_accuracy`."""
    rows = mean_accuracy(evals)
    return rows[rows["tasks_seen"] == rows.groupby("trial_id")["tasks_seen"].transform("max")]


def newest_tasks(evals: pd.DataFrame, number: int) -> pd.DataFrame:
    """Mean accuracy over the `number` tasks seen last: columns TRIAL, tasks_seen, accuracy.

    There is a row only where all of them were measured. For streams without cycles.
    """
    newest = evals[evals["task"] >= evals["tasks_seen"] - number]
    rows = _means(newest, newest["tasks_seen"], newest["accuracy"])
    return rows[rows["size"] == number].drop(columns="size").reset_index(drop=True)


def first_task(evals: pd.DataFrame) -> pd.DataFrame:
    """Accuracy of task 0 as later tasks are trained: columns TRIAL, tasks_seen, accuracy."""
    first = evals[evals["task"] == 0]
    return _means(first, first["tasks_seen"], first["accuracy"]).drop(columns="size")


def first_task_by_step(evals: pd.DataFrame, curves: pd.DataFrame) -> pd.DataFrame:
    """Accuracy of task 0 over optimiser steps: columns TRIAL, step, accuracy.

    The values are from the trial's curve. After the curve's end, and without a curve, they are from evals. Where trials
    of one context and width were measured at different moments (`eval_every`), their curves have no common mean at each
    moment; the values of such trials are from evals alone.

    Args:
        evals: one row for each trial, tasks seen and task.
        curves: one row for each trial, step and task; of these trials, of others, or empty.
    """
    steps = evals.loc[~evals["trial_id"].duplicated(), ["trial_id", "steps_per_task"]].astype({"trial_id": object})
    after_tasks = first_task(evals).merge(steps, on="trial_id")
    after_tasks = after_tasks.assign(step=after_tasks["tasks_seen"] * after_tasks["steps_per_task"])
    after_tasks = after_tasks[[*TRIAL, "step", "accuracy"]]
    if curves.empty:
        return after_tasks
    curve = curves.loc[curves["task"] == 0, ["trial_id", "step", "accuracy"]].astype({"trial_id": object})
    curve = curve.merge(_measured_alike(evals), on="trial_id")[[*TRIAL, "step", "accuracy"]]
    last = after_tasks["trial_id"].map(curve.groupby("trial_id")["step"].max()).fillna(0)
    rows = pd.concat([curve, after_tasks[after_tasks["step"] > last]])
    return rows.sort_values(["trial_id", "step"], kind="stable").reset_index(drop=True)


def train_loss(evals: pd.DataFrame, curves: pd.DataFrame) -> pd.DataFrame:
    """The training loss in nats over optimiser steps, of whichever task is in training: columns TRIAL, step, loss.

    Trials whose curves have other moments than those beside them are left out: see `first_task_by_step`.

    Args:
        evals: one row for each trial, tasks seen and task.
        curves: one row for each trial, step and task; of these trials, of others, or empty.
    """
    if "train_loss" not in curves:
        return pd.DataFrame(columns=[*TRIAL, "step", "loss"])
    curve = curves.loc[curves["train_loss"].notna(), ["trial_id", "step", "train_loss"]].astype({"trial_id": object})
    curve = curve.drop_duplicates(["trial_id", "step"]).rename(columns={"train_loss": "loss"})
    return curve.merge(_measured_alike(evals), on="trial_id")[[*TRIAL, "step", "loss"]]


def through_time(evals: pd.DataFrame, curves: pd.DataFrame) -> pd.DataFrame:
    """Accuracy of each task as training goes on: columns TRIAL, task, time, accuracy.

    `time` is the number of tasks trained, with a fraction within a task. Where a trial's curve has the moment, the
    value is the curve's. Trials whose curves have other moments than those beside them: as `first_task_by_step`.

    Args:
        evals: one row for each trial, tasks seen and task. No cycles.
        curves: one row for each trial, step and task; of these trials, of others, or empty.
    """
    columns = [*TRIAL, "task", "time", "accuracy"]
    after = evals.astype({"trial_id": object}).assign(time=evals["tasks_seen"].astype(float))[columns]
    if curves.empty:
        return after
    steps = settings_of(evals, ["steps_per_task"]).merge(_measured_alike(evals), on="trial_id")
    within = curves.astype({"trial_id": object}).merge(steps, on="trial_id")
    within = within.assign(time=within["step"] / within["steps_per_task"])[columns]
    rows = pd.concat([within, after], ignore_index=True).drop_duplicates(["trial_id", "task", "time"])
    return rows.sort_values(["trial_id", "task", "time"], ignore_index=True)


def _measured_alike(evals: pd.DataFrame) -> pd.DataFrame:
    """The trials of those contexts and widths whose trials all have the same moments: columns TRIAL."""
    moments = evals.loc[~evals["trial_id"].duplicated(), ["trial_id", "eval_every", "eval_from"]]
    trials = trials_of(evals).merge(moments.astype({"trial_id": object}), on="trial_id")
    numbers = trials.groupby(["context", "width"])[["eval_every", "eval_from"]].transform("nunique", dropna=False)
    return trials[(numbers == 1).all(axis=1)]


def lately(rows: pd.DataFrame, steps: int) -> pd.DataFrame:
    """A moving mean: each accuracy becomes the mean over the last `steps` steps, its own included.

    There is no row before a trial was measured for so many steps.

    Args:
        rows: columns trial_id, step, accuracy, and any others. Each trial's steps are evenly apart.
        steps: the length of the window, in optimiser steps.
    """
    return pd.concat([_lately(trial, steps) for _, trial in rows.groupby("trial_id", sort=False)], ignore_index=True)


def _lately(trial: pd.DataFrame, steps: int) -> pd.DataFrame:
    trial = trial.sort_values("step")
    step, accuracy = trial["step"].to_numpy(), trial["accuracy"].to_numpy()
    before = step[0] - (
        step[1] - step[0] if len(step) > 1 else steps
    )  # the moment before the first, had there been one
    first = np.searchsorted(step, step - steps, side="right")
    sums = np.concatenate([[0.0], accuracy.cumsum()])
    means = (sums[1:] - sums[first]) / (np.arange(len(step)) + 1 - first)
    averaged: pd.DataFrame = trial.assign(accuracy=means)[step - steps >= before]
    return averaged


def interference(evals: pd.DataFrame) -> pd.DataFrame:
    """Accuracy lost after `lag` more tasks, R[j, j] - R[j + lag, j], mean over tasks j of a trial.

    Columns TRIAL, lag (1..K-1), lost (a fraction). For streams without cycles.
    """
    codes, names = pd.factorize(evals["trial_id"])
    task = evals["task"].to_numpy()
    lag = (evals["tasks_seen"].to_numpy() - 1 - task).astype(np.int64)
    accuracy = evals["accuracy"].to_numpy()
    when_new = np.full((len(names), task.max(initial=0) + 1), np.nan)
    when_new[codes[lag == 0], task[lag == 0]] = accuracy[lag == 0]
    lost = when_new[codes, task] - accuracy
    known = (lag > 0) & ~np.isnan(lost)
    later = evals[known]
    x, y = (pd.Series(values[known], name=name) for values, name in ((lag, "lag"), (lost, "lost")))
    return _means(later, x, y).drop(columns="size")


def _means(evals: pd.DataFrame, x: pd.Series, y: pd.Series) -> pd.DataFrame:
    """Each trial's mean of y at each value of x: columns TRIAL, x, y, size. Values of x are small whole numbers.

    numpy.bincount, because pandas takes half a minute to group ten million rows by five columns.
    """
    codes, names = pd.factorize(evals["trial_id"])
    num_values = int(x.max()) + 1 if len(x) else 1
    cell = codes * num_values + x.to_numpy()
    sizes = np.bincount(cell, minlength=len(names) * num_values)
    sums = np.bincount(cell, weights=y.to_numpy(), minlength=len(sizes))
    (found,) = sizes.nonzero()
    trial, value = np.divmod(found, num_values)
    rows = trials_of(evals).iloc[trial].reset_index(drop=True)  # trials_of and factorize have the same order
    return rows.assign(**{str(x.name): value, str(y.name): sums[found] / sizes[found], "size": sizes[found]})


def capacity_bounds(evals: pd.DataFrame, threshold: float) -> pd.DataFrame:
    """Bounds of each trial's capacity at `threshold` times its accuracy on a single task, R[0, 0].

    The capacity is the largest K whose mean accuracy over K tasks, after K tasks, reaches the threshold. It is known
    from the K at which all K tasks were measured: at least the largest that reached the threshold, and below the next.

    Columns TRIAL, at_least (tasks), below (tasks; infinite where the last K reached the threshold), num_tasks (the
    largest K). `at_least` is 1 or more, because one task has its own accuracy. Trials without R[0, 0] are left out. For
    streams without cycles.
    """
    return bounds_of_curves(mean_accuracy(evals), threshold)


def bounds_of_curves(curve: pd.DataFrame, threshold: float) -> pd.DataFrame:
    """The same of curves of mean accuracy: columns TRIAL, tasks_seen, accuracy."""
    single = curve[curve["tasks_seen"] == 1].set_index("trial_id")["accuracy"]
    curve = curve[curve["trial_id"].isin(single.index)].sort_values("tasks_seen", kind="stable")
    next_seen = curve.groupby("trial_id")["tasks_seen"].shift(-1).fillna(np.inf)
    reached = curve["accuracy"] >= threshold * curve["trial_id"].map(single)
    most = curve.groupby("trial_id")["tasks_seen"].transform("max")
    curve = curve.assign(at_least=curve["tasks_seen"], below=next_seen, num_tasks=most)[reached]
    rows = curve.groupby(TRIAL, as_index=False, dropna=False)[["at_least", "below", "num_tasks"]].last()
    return rows.astype({"at_least": int, "num_tasks": int})


def capacity(evals: pd.DataFrame, threshold: float) -> pd.DataFrame:
    """Each trial's capacity, as of `capacity_bounds`, where it is known to the task.

    Columns TRIAL, capacity (tasks), num_tasks (the upper bound). Trials that did not measure all tasks after each task
    are left out: their capacity is not known.
    """
    rows = mean_accuracy(evals).groupby("trial_id")["tasks_seen"].size()
    last = evals.groupby("trial_id", observed=True)["tasks_seen"].max()
    bounds = capacity_bounds(evals, threshold)
    is_known = bounds["trial_id"].map(rows) == bounds["trial_id"].astype(object).map(last)
    bounds = bounds[is_known].rename(columns={"at_least": "capacity"})
    return bounds[[*TRIAL, "capacity", "num_tasks"]].reset_index(drop=True)


def best_lr(
    evals: pd.DataFrame, by: Sequence[str] = ("context", "width"), diverged: pd.DataFrame | None = None
) -> pd.DataFrame:
    """The rows of each curve's best learning rate.

    The best learning rate has the highest mean, over seeds, of mean accuracy over all tasks after the last task. A
    trial that diverged counts with the accuracy of guessing. All rows of a curve stay where the curve has one learning
    rate, or no such accuracy.

    Args:
        evals: measurements, with columns `by`.
        by: the settings that tell curves apart.
        diverged: a row for each trial that diverged: columns `by`, lr, chance.
    """
    by = list(by)
    trials = settings_of(evals, [*by, "lr"])
    tried = trials.groupby(by, dropna=False)["lr"].transform("nunique")
    if tried.max() < 2:
        return evals
    scores = trials.merge(final_accuracy(evals)[["trial_id", "accuracy"]], on="trial_id")
    if diverged is not None and not diverged.empty:
        scores = pd.concat([scores, diverged[[*by, "lr"]].assign(accuracy=diverged["chance"])])
    means = scores.groupby([*by, "lr"], as_index=False, dropna=False)["accuracy"].mean()
    means = means.merge(trials[[*by, "lr"]].drop_duplicates())  # without learning rates at which all trials diverged
    best = means.loc[means.groupby(by, dropna=False)["accuracy"].idxmax(), [*by, "lr"]]
    is_best = trials.merge(best.assign(is_best=True), how="left", on=[*by, "lr"])["is_best"].notna()
    is_known = trials.merge(best[by].assign(is_known=True), how="left", on=by)["is_known"].notna()
    chosen = trials.loc[is_best | ~is_known, "trial_id"]
    return evals if len(chosen) == len(trials) else evals[evals["trial_id"].isin(chosen)]


def over_seeds(frame: pd.DataFrame, by: list[str], value: str) -> pd.DataFrame:
    """Mean over seeds and its 95% interval: columns `by`, mean, low, high, size (the number of trials).

    The interval of the mean is Student's t. For a single seed, low and high are NaN.
    """
    rows = frame.groupby(by, dropna=False)[value].agg(["mean", "std", "size"]).reset_index()
    half = stdtrit(rows["size"] - 1, 0.975) * rows["std"] / np.sqrt(rows["size"])
    return rows[[*by, "mean", "size"]].assign(low=rows["mean"] - half, high=rows["mean"] + half)

"""Tidy frames of what theories predict, beside what was measured."""

from typing import Final

import numpy as np
import pandas as pd

from analysis.measured import Measured
from analysis.tables import TRIAL, bounds_of_curves, first_task, mean_accuracy, trials_of

MEASURED: Final = "measured"
NAMES: Final = {
    "models": "predicted, K whole models",
    "responses": "predicted, by responses",
    "increments": "predicted, increments",
    "moved": "noise as weights moved",
}
"""What figures call a theory of the store (`psp_core.prediction`)."""


def beside_measured(measured: Measured, *, of_first_task: bool = False) -> pd.DataFrame:
    """Each trial's accuracy against the number of tasks, measured and by each theory, at its best learning rate.

    Columns TRIAL, tasks_seen, accuracy (the mean over all tasks, or that of task 0), source (MEASURED or of `NAMES`).
    There is no row where a theory says nothing. Empty where no trial predicts.
    """
    evals = measured.best_lr
    ours = first_task(evals) if of_first_task else mean_accuracy(evals)
    frame = measured.predictions
    if frame.empty or not (trials := trials_of(evals).merge(frame, on="trial_id")).shape[0]:
        return ours.iloc[:0].assign(source="")
    accuracy = trials["first_task" if of_first_task else "accuracy"]
    theirs = trials.assign(accuracy=accuracy, source=trials["theory"].map(NAMES)).dropna(subset="accuracy")
    columns = [*TRIAL, "tasks_seen", "accuracy", "source"]
    return pd.concat([ours.assign(source=MEASURED)[columns], theirs[columns]], ignore_index=True)


def predicted_bounds(measured: Measured, threshold: float) -> dict[str, pd.DataFrame]:
    """Bounds of each trial's predicted capacity, by theory's name: as `tables.capacity_bounds` has the measured one's.

    A theory that says nothing of all tasks has none.
    """
    of_source = beside_measured(measured).groupby("source")
    return {
        name: bounds_of_curves(of_source.get_group(name), threshold)
        for name in NAMES.values()
        if name in of_source.groups
    }


def crossings(frame: pd.DataFrame, share: float) -> pd.DataFrame:
    """The number of tasks at which each curve falls below `share` of its accuracy with one task.

    Between two numbers of tasks a straight line over log K is taken. Columns TRIAL, source, capacity; NaN where a curve
    has not fallen by its end.

    Args:
        frame: as of `beside_measured`.
        share: such as 0.9.
    """
    by = [*TRIAL, "source"]
    rows = [(*key, _crossing(some.sort_values("tasks_seen"), share)) for key, some in frame.groupby(by, observed=True)]
    return pd.DataFrame(rows, columns=[*by, "capacity"])


def _crossing(curve: pd.DataFrame, share: float) -> float:
    numbers, accuracy = np.log(curve["tasks_seen"].to_numpy()), curve["accuracy"].to_numpy()
    level = share * accuracy[0]
    (below,) = np.nonzero(accuracy < level)
    if numbers[0] != 0 or not len(below):
        return float("nan")
    last, first = below[0] - 1, below[0]
    part = (accuracy[last] - level) / (accuracy[last] - accuracy[first])
    return float(np.exp(numbers[last] + part * (numbers[first] - numbers[last])))


def ratios(capacities: pd.DataFrame) -> pd.DataFrame:
    """Predicted over measured capacity of each trial, where both are known: columns TRIAL, source, ratio."""
    is_measured = capacities["source"] == MEASURED
    known = capacities.loc[is_measured, ["trial_id", "capacity"]].rename(columns={"capacity": MEASURED})
    rows = capacities[~is_measured].merge(known, on="trial_id")
    return rows.assign(ratio=rows["capacity"] / rows[MEASURED]).dropna(subset="ratio")[[*TRIAL, "source", "ratio"]]

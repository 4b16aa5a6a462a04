"""The law of capacity: K = a width^b, fitted to capacities that are known between bounds, with resampled intervals."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import combinations
from typing import Any, Final

import numpy as np
import pandas as pd
from scipy.special import ndtr, stdtrit

from analysis.bounds import BITS_A_PARAMETER, tasks_by_heart
from analysis.censored import Array, Bounded
from analysis.lack_of_fit import lack_of_fit
from analysis.measured import Measured
from analysis.predictions import MEASURED, predicted_bounds
from analysis.roles import in_order, is_number, said, text_of
from analysis.tables import capacity_bounds

OF_TRIALS: Final = ["width", "at_least", "below", "num_tasks", "by_heart"]
THRESHOLDS: Final = (0.8, 0.9, 0.95)  # shares of a single task's accuracy
RESAMPLES: Final = 1000
FEWEST_WIDTHS: Final = 3
REFUSED: Final = 0.05  # below this p-value
MOST_LOST: Final = 0.025  # the share of resamples that may leave the law open
BEYOND: Final = 2.0  # a crossing is looked for in widths up to so many times the measured ones, and down to that part


@dataclass(frozen=True)
class Estimate:
    """A number and its 95% interval; low and high are NaN where there is none."""

    value: float
    low: float = np.nan
    high: float = np.nan


@dataclass(frozen=True)
class Law:
    """One curve's capacity against width.

    log K = log a + b log width + noise, where the noise is normal and alike at all widths. K is where the curve of mean
    accuracy falls below the threshold. Of a trial it is known that at_least <= K < below. So a trial that kept all its
    tasks is censored from above. A trial that kept one task alone is censored from below: one task has its own
    accuracy by definition, whatever the law says.

    Attributes:
        curve: the settings that tell the curve from others.
        threshold: the share of a single task's accuracy.
        trials: a row for each trial: width, at_least, below, num_tasks, by_heart (`bounds.tasks_by_heart`).
        resamples: a fit on all trials, then resamples of the seeds within each width: columns log a, b. No row: no law.
        reason: why there is no law; else why there are no intervals.
        tail: the share of resamples beyond each end of a 95% interval.
        lack_of_fit: the p-value of a power, against a mean of its own at each width (`analysis.lack_of_fit`); NaN where
            no width has two seeds.
        source: `MEASURED`, or the name of a theory that predicts the capacities (`analysis.predictions`).
        beside: of predicted capacities: the law of the measured ones.
    """

    curve: Mapping[str, Any]
    threshold: float
    trials: pd.DataFrame
    resamples: Array
    reason: str = ""
    tail: float = 0.025
    lack_of_fit: float = np.nan
    source: str = MEASURED
    beside: "Law | None" = None

    @property
    def is_fitted(self) -> bool:
        """Whether there is a law."""
        return len(self.resamples) > 0

    @property
    def is_refused(self) -> bool:
        """Whether the capacities are no power of width, by the test for lack of fit."""
        return self.lack_of_fit < REFUSED

    @property
    def exponent(self) -> Estimate:
        """The exponent b."""
        return estimate(self.resamples[:, 1], self.tail)

    @property
    def scale(self) -> Estimate:
        """The factor a: tasks at width 1, far from all widths measured."""
        return estimate(np.exp(self.resamples[:, 0]), self.tail)

    def log_tasks(self, widths: Array) -> Array:
        """Log K at each of W widths, for each of R resamples: (R, W)."""
        found: Array = self.resamples[:, :1] + self.resamples[:, 1:] * np.log(widths)
        return found

    def tasks(self, width: float) -> Estimate:
        """K at a width."""
        return estimate(np.exp(self.log_tasks(np.array([width]))[:, 0]), self.tail)

    def over(self, other: "Law", width: float) -> Estimate:
        """How many times the other law's tasks this one has at a width; resamples are taken one of each at a time."""
        number = min(len(self.resamples), len(other.resamples))
        at = np.array([width])
        gaps = self.log_tasks(at)[:number, 0] - other.log_tasks(at)[:number, 0]
        return estimate(np.exp(gaps), min(self.tail, other.tail))

    def over_measured(self, width: float) -> Estimate:
        """Predicted over measured tasks at a width; NaN where a law is missing, or nothing is predicted."""
        if self.beside is None or not (self.is_fitted and self.beside.is_fitted):
            return Estimate(np.nan)
        return self.over(self.beside, width)

    def label_bits(self, width: float) -> Estimate:
        """The labels of the tasks kept at a measured width, in bits a shared parameter (`analysis.bounds`)."""
        by_heart = self.trials.loc[self.trials["width"] == width, "by_heart"].mean()
        each = BITS_A_PARAMETER / by_heart
        tasks = self.tasks(width)
        return Estimate(each * tasks.value, each * tasks.low, each * tasks.high)

    @cached_property
    def widths(self) -> list[float]:
        """The widths measured."""
        return sorted(self.trials["width"].unique())

    @property
    def name(self) -> str:
        """The curve, with its other settings, and with the theory that predicts it."""
        others = (said(setting, value) for setting, value in self.curve.items() if setting != "context")
        return ", ".join([text_of(self.curve.get("context")), *others, *([self.source] if self.beside else [])])

    @property
    def num_above(self) -> int:
        """How many trials kept all their tasks."""
        return int(np.isinf(self.trials["below"]).sum())

    @property
    def num_below(self) -> int:
        """How many trials kept one task alone."""
        return int((self.trials["at_least"] <= 1).sum())


def estimate(values: Array, tail: float) -> Estimate:
    """The first value, and the interval without the share `tail` of the others at each end, where there are others."""
    if len(values) < 2:
        return Estimate(float(values[0]))
    low, high = np.quantile(values[1:], [tail, 1 - tail])
    return Estimate(float(values[0]), float(low), float(high))


def laws(measured: Measured, threshold: float) -> list[Law]:
    """The law of each curve, in the order of legends.

    Args:
        measured: an experiment, or a whole store with all varying settings as roles.
        threshold: the share of a single task's accuracy.
    """
    evals = measured.best_lr
    evals = evals[evals["num_cycles"] == 1]
    if evals.empty:
        return []
    bounds = capacity_bounds(evals, threshold).assign(by_heart=np.nan)
    if not measured.trials.empty:
        bounds["by_heart"] = bounds["trial_id"].map(tasks_by_heart(measured.trials.set_index("trial_id")))
    return _of_curves(measured, bounds, threshold)


def predicted_laws(measured: Measured, found: Sequence[Law]) -> list[Law]:
    """The law of each curve as each theory of the store predicts it: of each of the measured laws, in their order.

    Args:
        measured: as of `laws`.
        found: the measured laws, all of one threshold.
    """
    if not found:
        return []
    theirs = {
        source: _of_curves(measured, bounds.assign(by_heart=np.nan), found[0].threshold)
        for source, bounds in predicted_bounds(measured, found[0].threshold).items()
    }
    return [
        replace(law, source=source, beside=ours)
        for ours in found
        for source, laws in theirs.items()
        for law in laws
        if law.curve == ours.curve
    ]


def _of_curves(measured: Measured, bounds: pd.DataFrame, threshold: float) -> list[Law]:
    """The law of each curve in the order of legends, from bounds of trials: columns TRIAL, OF_TRIALS."""
    bounds = measured.beside(bounds)
    bounds = bounds[bounds["width"].map(is_number)]
    settings = [name for name in measured.settings if name != "width"]
    found = []
    for values, rows in bounds.groupby(settings, dropna=False, sort=False):
        every: list[Any] = list(values)
        curve = {name: None if pd.isna(value) else value for name, value in zip(settings, every, strict=True)}
        found.append(law(curve, threshold, rows[OF_TRIALS].reset_index(drop=True)))
    order = {name: in_order({each.curve[name] for each in found}) for name in settings}
    return sorted(found, key=lambda each: [order[name].index(each.curve[name]) for name in settings])


def law(curve: Mapping[str, Any], threshold: float, trials: pd.DataFrame, resamples: int = RESAMPLES) -> Law:
    """The law of these trials of one curve, or why there is none."""
    none = np.empty((0, 2))
    if reason := _missing(trials):
        return Law(curve, threshold, trials, none, reason)
    log_width = np.log(trials["width"].to_numpy(dtype=float))
    middle = log_width.mean()  # where the law's height does not depend on its slope
    bounded = Bounded(np.column_stack([np.ones(len(trials)), log_width - middle]), *_log_bounds(trials))
    weights = np.ones((1, len(trials)))
    reason = "one seed at a width, so no intervals" if trials.groupby("width").size().min() < 2 else ""
    if not reason:
        drawn = bootknife(trials["width"].to_numpy(), resamples, np.random.default_rng(0))
        decided = drawn[_decide(trials, drawn)]
        if len(decided) < (1 - MOST_LOST) * len(drawn):
            reason = f"{len(drawn) - len(decided)} of {len(drawn)} resamples leave the law open, so no intervals"
        else:
            weights = np.concatenate([weights, decided])
    coefficients, _ = bounded.fit(weights)
    coefficients = coefficients[~np.isnan(coefficients).any(axis=1)]
    height, slope = coefficients.T
    found = np.column_stack([height - slope * middle, slope])
    tail = _tail(len(trials) - trials["width"].nunique())
    return Law(curve, threshold, trials, found, reason, tail, lack_of_fit(bounded, log_width))


def _tail(freedom: int) -> float:
    """The tail beyond which resamples count as outside, so that few seeds have Student's wider interval.

    Source: Hesterberg 2015, "What teachers should know about the bootstrap", the expanded percentile interval. His
    factor for the bootstrap's small variance is not needed: see `bootknife`.

    Args:
        freedom: trials less widths.
    """
    return float(ndtr(stdtrit(freedom, 0.025))) if freedom > 0 else 0.025


def bootknife(groups: Array, number: int, rng: np.random.Generator) -> Array:
    """Resamples within groups, as weights (number, N): one member is left out, then as many are drawn as there were.

    The plain bootstrap of n seeds makes the variance of a mean too small by (n - 1) / n, a third for three seeds; this
    one does not. Source: Hesterberg 2004, "Unbiasing the bootstrap: bootknife sampling vs. smoothing".
    """
    weights = np.zeros((number, len(groups)))
    for group in np.unique(groups):
        (members,) = np.nonzero(groups == group)
        size = len(members)
        shares = np.full((number, size), 1 / (size - 1))
        shares[np.arange(number), rng.integers(size, size=number)] = 0
        weights[:, members] = rng.multinomial(size, shares)
    return weights


def _log_bounds(trials: pd.DataFrame) -> tuple[Array, Array]:
    at_least, below = (trials[name].to_numpy(dtype=float) for name in ("at_least", "below"))
    return np.where(at_least <= 1, -np.inf, np.log(at_least)), np.log(below)


def _is_between(trials: pd.DataFrame) -> "pd.Series[bool]":
    """The trials whose capacity has a finite bound on both sides."""
    return (trials["at_least"] > 1) & (trials["below"] < np.inf)


def _decide(trials: pd.DataFrame, weights: Array) -> "np.ndarray[Any, np.dtype[np.bool_]]":
    """Which resamples decide the law: they have trials with two finite bounds at two widths or more."""
    kept = weights * _is_between(trials).to_numpy()
    width = trials["width"].to_numpy()
    by_width = np.stack([kept[:, width == value].sum(axis=1) > 0 for value in np.unique(width)])
    decides: np.ndarray[Any, np.dtype[np.bool_]] = by_width.sum(axis=0) >= 2
    return decides


def _missing(trials: pd.DataFrame) -> str:
    """What a law needs and these trials lack; empty where there is enough."""
    numbers, between = trials["width"].nunique(), trials.loc[_is_between(trials), "width"].nunique()
    if numbers < FEWEST_WIDTHS:
        return f"needs {FEWEST_WIDTHS} widths, and has {numbers}"
    if np.isinf(trials["below"]).all():
        return "no trial reached its capacity: more tasks are needed"
    if (trials["at_least"] <= 1).all():
        return "every trial kept one task alone"
    if between < 2:
        return f"needs two widths whose capacity lies between the first and the last task, and has {between}"
    return ""


@dataclass(frozen=True)
class Crossing:
    """Where one curve's law overtakes another's.

    Attributes:
        upper: the curve with the larger capacity above the crossing; without one, at all widths looked at.
        lower: the other curve.
        width: where the laws cross, with the widths at which neither is surely the larger (95%); None where they do not
            cross. An end is infinite, or 0, where it lies beyond the widths looked at.
        near: without a crossing: the measured width at which the laws are nearest.
        ratio: there: how many times the lower curve's capacity the upper curve has.
    """

    upper: Law
    lower: Law
    width: Estimate | None
    near: float = np.nan
    ratio: Estimate | None = None


def crossings_of(found: Sequence[Law]) -> Iterator[Crossing]:
    """Each pair of fitted laws, where both were measured at common widths."""
    for one, other in combinations([each for each in found if each.is_fitted], 2):
        low, high = max(one.widths[0], other.widths[0]), min(one.widths[-1], other.widths[-1])
        if low < high:
            yield crossing(one, other, low, high)


def crossing(one: Law, other: Law, low: float, high: float) -> Crossing:
    """Where two laws cross, in widths from low / BEYOND to high x BEYOND.

    The interval has the widths at which neither law is the larger in nearly all resamples, one of each law at a time.
    That is a percentile interval of the crossing where its direction is certain, and has an open end where it is not.
    """
    tail = min(one.tail, other.tail)
    number = min(len(one.resamples), len(other.resamples))
    widths = np.geomspace(low / BEYOND, high * BEYOND, 401)
    gaps = one.log_tasks(widths)[:number] - other.log_tasks(widths)[:number]
    if gaps[0, -1] < 0:
        one, other, gaps = other, one, -gaps
    if gaps[0, 0] >= 0:
        ends = np.array([low, high])
        near = float(ends[np.abs(one.log_tasks(ends)[0] - other.log_tasks(ends)[0]).argmin()])
        return Crossing(one, other, None, near, one.over(other, near))
    log_a, slope = one.resamples[0] - other.resamples[0]
    width = float(np.exp(-log_a / slope))
    if number < 2:
        return Crossing(one, other, Estimate(width))
    share = (gaps[1:] > 0).mean(axis=0)
    (open_,) = np.nonzero((share > tail) & (share < 1 - tail))
    first, last = (open_[0], open_[-1]) if len(open_) else (np.searchsorted(widths, width),) * 2
    below, above = 0.0 if first == 0 else widths[first], np.inf if last == len(widths) - 1 else widths[last]
    return Crossing(one, other, Estimate(width, below, above))

"""The test for lack of fit: the F-test of least squares, and made-up capacities that are a power of width or not."""

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from analysis.censored import Bounded
from analysis.lack_of_fit import lack_of_fit
from analysis.law import law
from analysis.law_text import fit_text
from tests.analysis.test_law import WIDTHS, trials


def bent(rows: pd.DataFrame, by: float) -> pd.DataFrame:
    """Capacities that stay back the more, the wider the network."""
    log_width = np.log(rows["width"] / WIDTHS[0])
    at_least = np.maximum(1, np.floor(rows["at_least"] * np.exp(-by * log_width**2)))
    return rows.assign(at_least=at_least.astype(int), below=at_least + 1)


def test_of_observations_known_exactly_it_is_the_f_test_of_least_squares() -> None:
    rng = np.random.default_rng(3)
    x = np.repeat([0.0, 1.0, 2.0, 4.0], 3)
    y = 0.5 + 0.3 * x + 0.05 * x**2 + 0.3 * rng.normal(size=len(x))
    design = np.column_stack([np.ones(len(x)), x])
    around_line = np.sum((y - design @ np.linalg.lstsq(design, y)[0]) ** 2)
    around_means = sum(np.var(y[x == value]) * 3 for value in np.unique(x))
    expected = stats.f.sf((around_line - around_means) / 2 / (around_means / 8), 2, 8)
    assert lack_of_fit(Bounded(design, y - 1e-4, y + 1e-4), x) == pytest.approx(expected, rel=0.02)


def test_true_powers_are_seldom_refused_and_bent_curves_are() -> None:
    straight = [law({}, 0.9, trials(0.5, 0.9, num_tasks=1000, seed=seed), resamples=2) for seed in range(40)]
    assert np.mean([each.is_refused for each in straight]) <= 0.15  # of true ones 5%
    assert np.std([each.lack_of_fit for each in straight]) > 0.15  # p is spread over all of 0 to 1
    curved = [
        law({}, 0.9, bent(trials(1.0, 1.2, num_tasks=1000, noise=0.1, seed=seed), by=0.15), resamples=2)
        for seed in range(10)
    ]
    assert all(each.is_refused for each in curved)


def test_censored_trials_do_not_make_a_power_bent() -> None:
    cut = law({}, 0.9, trials(0.3, 0.9, num_tasks=15), resamples=2)
    assert (cut.trials.groupby("width")["below"].min() == np.inf).any()  # a width of which all trials are censored
    assert cut.lack_of_fit > 0.1


def test_one_seed_cannot_be_tested() -> None:
    found = law({}, 0.9, trials(0.3, 0.9, seeds=1))
    assert np.isnan(found.lack_of_fit)
    assert not found.is_refused
    assert fit_text(found) == ""

"""The fit of bounded observations, against scipy's own fit of censored data and against least squares."""

import numpy as np
import pytest
from scipy import stats

from analysis.censored import Array, Bounded, log_probability


def observed(seed: int = 0, num: int = 30) -> tuple[Array, Array, Array]:
    """x, and bounds: some within an interval, some censored from above, some from below."""
    rng = np.random.default_rng(seed)
    x = np.column_stack([np.ones(num), rng.uniform(-1, 1, num)])
    y = x @ [1.0, 0.8] + 0.3 * rng.normal(size=num)
    low = np.floor(y * 5) / 5
    high = low + 0.2
    return (
        x,
        np.where(low > 1.6, 1.6, np.where(low < 0.4, -np.inf, low)),
        np.where(low > 1.6, np.inf, np.maximum(high, 0.4)),
    )


def scipys_loss(low: Array, high: Array, mean: float, sigma: float) -> float:
    share = stats.norm.cdf(high, mean, sigma) - stats.norm.cdf(low, mean, sigma)
    return -float(np.log(share).sum())


def censored(low: Array, high: Array) -> stats.CensoredData:
    is_within = np.isfinite(low) & np.isfinite(high)
    return stats.CensoredData(
        left=high[np.isinf(low)], right=low[np.isinf(high)], interval=np.column_stack([low, high])[is_within]
    )


def test_height_and_sigma_are_scipys_of_what_the_slope_leaves() -> None:
    x, low, high = observed()
    ((height, slope),), (sigma,) = Bounded(x, low, high).fit(np.ones((1, len(x))))
    mean, scale = stats.norm.fit(censored(low - slope * x[:, 1], high - slope * x[:, 1]))
    assert height == pytest.approx(mean, abs=1e-3)
    assert sigma == pytest.approx(scale, rel=1e-3)


def test_no_other_slope_is_more_likely_by_scipys_account() -> None:
    x, low, high = observed()
    ((height, slope),), (sigma,) = Bounded(x, low, high).fit(np.ones((1, len(x))))
    losses = [
        scipys_loss(low - other * x[:, 1], high - other * x[:, 1], height, sigma)
        for other in (slope - 0.02, slope, slope + 0.02)
    ]
    assert np.argmin(losses) == 1


def test_narrow_bounds_are_least_squares() -> None:
    rng = np.random.default_rng(1)
    x = np.column_stack([np.ones(20), rng.normal(size=20)])
    y = x @ [0.5, -1.2] + 0.2 * rng.normal(size=20)
    (coefficients,), (sigma,) = Bounded(x, y - 1e-4, y + 1e-4).fit(np.ones((1, 20)))
    expected = np.linalg.lstsq(x, y)[0]
    np.testing.assert_allclose(coefficients, expected, atol=1e-4)
    assert sigma == pytest.approx(np.std(y - x @ expected), rel=1e-2)


def test_a_weight_of_two_is_an_observation_twice() -> None:
    x, low, high = observed()
    weights = np.random.default_rng(2).integers(0, 3, (4, len(x))).astype(float)
    together, sigmas = Bounded(x, low, high).fit(weights)
    for weight, coefficients, sigma in zip(weights.astype(int), together, sigmas, strict=True):
        repeated = Bounded(*(np.repeat(values, weight, axis=0) for values in (x, low, high)))
        (alone,), (sigma_alone,) = repeated.fit(np.ones((1, weight.sum())))
        np.testing.assert_allclose(coefficients, alone, atol=1e-3)
        assert sigma == pytest.approx(sigma_alone, rel=1e-2)


def test_a_law_that_meets_all_bounds_has_a_small_sigma_and_is_found() -> None:
    x = np.column_stack([np.ones(6), np.arange(6.0)])
    y = x @ [1.0, 0.5]
    (coefficients,), (sigma,) = Bounded(x, y - 0.1, y + 0.1).fit(np.ones((1, 6)))
    np.testing.assert_allclose(coefficients, [1, 0.5], atol=0.02)
    assert 0 < sigma < 0.1


def test_probabilities_far_from_the_middle() -> None:
    low, high = np.array([-np.inf, 30.0, -31.0, 0.5, -1.0]), np.array([-30.0, np.inf, -30.0, 0.5 + 1e-9, 2.0])
    expected = [
        stats.norm.logcdf(-30),
        stats.norm.logsf(30),
        stats.norm.logcdf(-30) + np.log1p(-np.exp(stats.norm.logcdf(-31) - stats.norm.logcdf(-30))),
        stats.norm.logpdf(0.5) + np.log(1e-9),
        np.log(stats.norm.cdf(2) - stats.norm.cdf(-1)),
    ]
    np.testing.assert_allclose(log_probability(low, high), expected, rtol=1e-6)

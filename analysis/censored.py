"""Maximum likelihood of a linear law whose observations are known to lie between two bounds.

y_n = x_n . beta + sigma e_n, where e_n is standard normal; of y_n it is known that low_n <= y_n < high_n. An infinite
bound is a censored observation. This is Tobin's model, with an interval for each observation.

In the parameters beta / sigma and 1 / sigma the log-likelihood is concave (Burridge 1981, "A note on maximum likelihood
estimation for regression models using grouped data"), so Newton's method finds the maximum. Resamples are fitted
together: a resample is a weight for each observation.
"""

# B resamples, N observations, P coefficients, Q = P + 1 parameters, 2: lower and upper bound

from dataclasses import dataclass
from functools import cached_property
from typing import Final

import numpy as np
from numpy.typing import NDArray
from scipy.special import log_ndtr

Array = NDArray[np.float64]

LEAST_SIGMA: Final = 0.01  # a law may meet all bounds; a weak penalty then ends the growth of 1 / sigma about here
MOST_STEPS: Final = 60
MOST_HALVINGS: Final = 30
NEAR: Final = 1e-8  # of the log-likelihood
ROUNDING: Final = 1e-10
RIDGE: Final = 1e-9


@dataclass(frozen=True)
class Bounded:
    """What is known of the observations.

    Attributes:
        x_NP: what the law is linear in.
        low_N: the lower bounds; minus infinity where there is none.
        high_N: the upper bounds, each above the lower one; infinite where there is none.
    """

    x_NP: Array
    low_N: Array
    high_N: Array

    def fit(self, weights_BN: Array) -> tuple[Array, Array]:
        """The coefficients (B, P) and sigma (B,) of each resample; NaN where no maximum was found.

        There is one maximum where P independent x or more have an observation with two finite bounds.

        Args:
            weights_BN: how often a resample has an observation.
        """
        together_1Q, _ = self._climb(self._start()[np.newaxis], weights_BN.mean(axis=0, keepdims=True))
        theta_BQ, gain_B = self._climb(np.tile(together_1Q, (len(weights_BN), 1)), weights_BN)
        sigma_B = np.where(gain_B < NEAR, 1 / theta_BQ[:, -1], np.nan)
        return theta_BQ[:, :-1] * sigma_B[:, np.newaxis], sigma_B

    def greatest_likelihood(self) -> float:
        """The log-likelihood less the penalty at its maximum, each observation once; NaN where none was found."""
        weights_1N = np.ones((1, len(self.low_N)))
        coefficients_1P, sigma_1 = self.fit(weights_1N)
        theta_1Q = np.append(coefficients_1P, np.ones((1, 1)), axis=1) / sigma_1
        return float(self.likelihood(theta_1Q, weights_1N)[0])

    def _climb(self, theta_BQ: Array, weights_BN: Array) -> tuple[Array, Array]:
        """The parameters at the maximum, from these on, and what the last step gained (B,)."""
        ridge_QQ = RIDGE * np.eye(theta_BQ.shape[1])
        for _ in range(MOST_STEPS):
            gradient_BQ, hessian_BQQ = self._slopes(theta_BQ, weights_BN)
            step_BQ1: Array = np.linalg.solve(hessian_BQQ - ridge_QQ, -gradient_BQ[..., np.newaxis]).astype(np.float64)
            theta_BQ, gain_B = self._search(theta_BQ, step_BQ1[..., 0], weights_BN)
            if (gain_B < NEAR).all():
                break
        return theta_BQ, gain_B

    def likelihood(self, theta_BQ: Array, weights_BN: Array) -> Array:
        """The log-likelihood (B,) less the penalty, at beta / sigma and 1 / sigma."""
        z_2BN = self._scores(theta_BQ)
        with np.errstate(invalid="ignore", divide="ignore"):
            sums_B = (weights_BN * log_probability(*z_2BN)).sum(axis=1) - (LEAST_SIGMA * theta_BQ[:, -1]) ** 2 / 2
        return np.where(theta_BQ[:, -1] > 0, sums_B, -np.inf)

    @cached_property
    def _rows_2NQ(self) -> Array:
        ends = (np.where(np.isfinite(y_N), y_N, 0) for y_N in (self.low_N, self.high_N))
        return np.stack([np.column_stack([-self.x_NP, y_N]) for y_N in ends])

    def _scores(self, theta_BQ: Array) -> Array:
        """Both bounds in units of sigma from the law, (2, B, N)."""
        z_2BN = np.einsum("bq,enq->ebn", theta_BQ, self._rows_2NQ)
        ends_2N = np.stack([self.low_N, self.high_N])
        return np.where(np.isfinite(ends_2N)[:, np.newaxis], z_2BN, ends_2N[:, np.newaxis])

    def _start(self) -> Array:
        """The least squares law through the bounds' middles, or the one finite bound, with a sigma of 1."""
        ends_2N = np.stack([self.low_N, self.high_N])
        middle_N = np.where(np.isfinite(ends_2N), ends_2N, ends_2N[::-1]).mean(axis=0)
        return np.append(np.linalg.lstsq(self.x_NP, middle_N)[0], 1.0)

    def _slopes(self, theta_BQ: Array, weights_BN: Array) -> tuple[Array, Array]:
        """The gradient (B, Q) and the Hessian (B, Q, Q) of `likelihood`."""
        z_2BN, rows_2NQ = self._scores(theta_BQ), self._rows_2NQ
        log_p_BN = log_probability(*z_2BN)
        density_2BN = np.exp(-(z_2BN**2) / 2 - np.log(2 * np.pi) / 2 - log_p_BN)  # over the probability; 0 at infinity
        z_2BN = np.where(np.isfinite(z_2BN), z_2BN, 0)
        sign_2 = np.array([-1.0, 1.0])
        each_BNQ = np.einsum("e,ebn,enq->bnq", sign_2, density_2BN, rows_2NQ)
        gradient_BQ = np.einsum("bn,bnq->bq", weights_BN, each_BNQ)
        bend_2BN = -sign_2[:, np.newaxis, np.newaxis] * z_2BN * density_2BN * weights_BN
        squares_2NQQ = rows_2NQ[..., np.newaxis] * rows_2NQ[..., np.newaxis, :]
        hessian_BQQ = np.tensordot(bend_2BN, squares_2NQQ, axes=([0, 2], [0, 1]))
        hessian_BQQ -= each_BNQ.mT @ (weights_BN[..., np.newaxis] * each_BNQ)
        gradient_BQ[:, -1] -= LEAST_SIGMA**2 * theta_BQ[:, -1]
        hessian_BQQ[:, -1, -1] -= LEAST_SIGMA**2
        return gradient_BQ, hessian_BQQ

    def _search(self, theta_BQ: Array, step_BQ: Array, weights_BN: Array) -> tuple[Array, Array]:
        """The parameters after the step, halved until the likelihood does not fall, and what it has gained (B,)."""
        before_B = self.likelihood(theta_BQ, weights_BN)
        size_B = np.ones(len(theta_BQ))
        for _ in range(MOST_HALVINGS):
            after_B = self.likelihood(theta_BQ + size_B[:, np.newaxis] * step_BQ, weights_BN)
            falls_B = ~(after_B >= before_B - ROUNDING)
            if not falls_B.any():
                break
            size_B = np.where(falls_B, size_B / 2, size_B)
        size_B = np.where(falls_B, 0, size_B)
        return theta_BQ + size_B[:, np.newaxis] * step_BQ, np.where(falls_B, 0, after_B - before_B)


def log_probability(low: Array, high: Array) -> Array:
    """log(Phi(high) - Phi(low)) of the standard normal distribution, also far from its middle."""
    is_right = low > 0
    low, high = np.where(is_right, -high, low), np.where(is_right, -low, high)
    log_low, log_high = log_ndtr(low), log_ndtr(high)
    found: Array = log_high + np.log(-np.expm1(log_low - log_high))
    return found

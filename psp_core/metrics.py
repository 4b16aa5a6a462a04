"""Mean accuracy, forgetting, transfer, interference and capacity, from a matrix of accuracies.

R[i, j] is the accuracy (a fraction) on task j after training through task i. NaN means not measured, and never counts
as 0. All functions take any (K, K) array.
"""

import numpy as np
from numpy.typing import ArrayLike, NDArray

# K tasks

Array = NDArray[np.float64]


def mean_accuracy(R: ArrayLike) -> Array:
    """Mean accuracy over the tasks seen, after each task: mean of R[i, 0..i], shape (K,).

    NaN where one of these tasks was not measured: a mean over fewer tasks is another quantity.
    """
    R = _square(R)
    return np.array([row[: i + 1].mean() for i, row in enumerate(R)])


def forgetting(R: ArrayLike) -> Array:
    """Best minus last accuracy of each task but the last: max over i of R[i, j], minus R[K-1, j].

    Shape (K-1,), never negative; NaN where R[K-1, j] was not measured.
    Source: Chaudhry et al. 2018, "Riemannian walk", with the maximum taken over all rows.
    """
    R = _square(R)
    return np.array([np.nanmax(column) - column[-1] if np.isfinite(column[-1]) else np.nan for column in R.T[:-1]])


def backward_transfer(R: ArrayLike) -> Array:
    """Last minus first accuracy of each task but the last: R[K-1, j] - R[j, j], shape (K-1,).

    Negative where later tasks harmed the task. Source: Lopez-Paz and Ranzato 2017, "GEM".
    """
    R = _square(R)
    change: Array = R[-1] - R.diagonal()
    return change[:-1]


def interference(R: ArrayLike) -> Array:
    """Accuracy lost after `lag` more tasks, mean over the tasks: R[j, j] - R[j + lag, j], shape (K,).

    Entry 0 is 0. The mean is over the tasks measured at that lag; NaN where no task was.
    """
    R = _square(R)
    first = R.diagonal()
    lost = [first[: len(R) - lag] - R.diagonal(-lag) for lag in range(len(R))]
    return np.array([np.nanmean(values) if np.isfinite(values).any() else np.nan for values in lost])


def capacity(R: ArrayLike, threshold: float, *, relative: bool = False) -> int:
    """The largest K whose mean accuracy over K tasks, after K tasks, is at or above a threshold.

    Args:
        R: accuracies, (K, K).
        threshold: a fraction; with `relative`, a fraction of a single task's accuracy R[0, 0].
        relative: see `threshold`.

    Returns:
        0 where no K reaches the threshold. Rows that were not measured in full do not count.

    Raises:
        ValueError: the threshold is not in (0, 1], or it is relative and R[0, 0] was not measured.
    """
    R = _square(R)
    if not 0 < threshold <= 1:
        raise ValueError(f"threshold={threshold} must lie in (0, 1]: accuracies are fractions.")
    if relative:
        if np.isnan(R[0, 0]):
            raise ValueError("a relative threshold needs R[0, 0], which was not measured; use an absolute one.")
        threshold *= R[0, 0]
    reached = np.flatnonzero(mean_accuracy(R) >= threshold)
    return int(reached[-1]) + 1 if reached.size else 0


def _square(R: ArrayLike) -> Array:
    R = np.asarray(R, dtype=np.float64)
    if R.ndim != 2 or R.shape[0] != R.shape[1]:
        raise ValueError(f"R has shape {R.shape}; it must be (K, K), rows and columns being tasks.")
    return R

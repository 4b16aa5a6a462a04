import numpy as np
import pytest

from psp_core.metrics import backward_transfer, capacity, forgetting, interference, mean_accuracy

NAN = np.nan
R = np.array(
    [
        [0.90, NAN, NAN],
        [0.95, 0.80, NAN],
        [0.50, 0.70, 0.60],
    ]
)


def test_mean_accuracy_is_over_the_tasks_seen() -> None:
    np.testing.assert_allclose(mean_accuracy(R), [0.9, 0.875, 0.6])


def test_a_row_measured_in_part_has_no_mean() -> None:
    partly = R.copy()
    partly[2, 1] = NAN
    np.testing.assert_allclose(mean_accuracy(partly), [0.9, 0.875, NAN])


def test_forgetting_is_best_minus_last_and_transfer_last_minus_first() -> None:
    np.testing.assert_allclose(forgetting(R), [0.45, 0.10])
    np.testing.assert_allclose(backward_transfer(R), [-0.40, -0.10])


def test_interference_is_the_loss_by_lag() -> None:
    np.testing.assert_allclose(interference(R), [0.0, ((0.90 - 0.95) + (0.80 - 0.70)) / 2, 0.40])


def test_what_was_not_measured_stays_unknown() -> None:
    unknown = np.full((3, 3), NAN)
    unknown[0, 0] = 0.9
    assert np.isnan(forgetting(unknown)).all()
    np.testing.assert_allclose(interference(unknown), [0, NAN, NAN])


@pytest.mark.parametrize(
    ("threshold", "relative", "expected"), [(0.87, False, 2), (0.5, False, 3), (0.99, False, 0), (0.95, True, 2)]
)
def test_capacity_is_the_largest_number_of_tasks_above_the_threshold(
    threshold: float, relative: bool, expected: int
) -> None:
    assert capacity(R, threshold, relative=relative) == expected


def test_capacity_passes_over_rows_that_were_not_measured_in_full() -> None:
    partly = R.copy()
    partly[1, 0] = NAN
    assert capacity(partly, 0.55) == 3


def test_bad_input_is_refused() -> None:
    with pytest.raises(ValueError, match=r"threshold=90 must lie in \(0, 1\]"):
        capacity(R, 90)
    with pytest.raises(ValueError, match="must be"):
        mean_accuracy(R[:2])
    with pytest.raises(ValueError, match=r"needs R\[0, 0\]"):
        capacity(np.full((2, 2), NAN), 0.9, relative=True)

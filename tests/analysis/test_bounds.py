import numpy as np
import pandas as pd
import pytest

from analysis.bounds import NUM_TRAIN, feature_exponent, label_bits, tasks_by_heart
from psp_core.datasets import Data


def rows(**settings: object) -> pd.DataFrame:
    usual = {"dataset": "digits", "stream": "permuting", "steps_per_task": 1000, "batch_size": 32, "num_labels": 10.0}
    return pd.DataFrame([{**usual, "num_params": 9_000, **settings}])


def test_training_images_are_those_of_the_data_sets() -> None:
    assert {name: Data.known[name].sizes.num_train for name in NUM_TRAIN} == NUM_TRAIN


def test_a_tasks_labels_have_the_bits_of_as_many_random_ones() -> None:
    assert label_bits(rows()).item() == pytest.approx(1438 * np.log2(10))
    assert label_bits(rows(steps_per_task=10)).item() == pytest.approx(320 * np.log2(10))  # as many were shown
    assert label_bits(rows(validation=438)).item() == pytest.approx(1000 * np.log2(10))
    assert tasks_by_heart(rows()).item() == pytest.approx(3.6 * 9_000 / (1438 * np.log2(10)))


@pytest.mark.parametrize("settings", [{"stream": "split"}, {"dataset": "imagenet"}, {"num_labels": np.nan}])
def test_what_is_not_known_is_not_said(settings: dict[str, object]) -> None:
    assert np.isnan(tasks_by_heart(rows(**settings)).item())


def test_the_exponent_is_the_slope_of_the_bound() -> None:
    n = np.array([16, 256])
    slope = np.diff(np.log(n**2 / np.log(n))) / np.diff(np.log(n))
    assert feature_exponent(list(n)) == pytest.approx(slope.item())
    assert feature_exponent([1e8, 1e9]) == pytest.approx(2 - 1 / np.log(3e8), abs=1e-3)

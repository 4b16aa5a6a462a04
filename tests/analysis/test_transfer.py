"""Forgetting and transfer against plain loops over R, written from the published formulas."""

from itertools import pairwise

import numpy as np
import pandas as pd
import pytest

from analysis.transfer import backward_transfer, forgetting, forward_transfer
from psp_core import metrics
from tests.analysis.test_tables import evals_of

K = 6


def trial(R: np.ndarray, trial_id: str = "a", **settings: object) -> pd.DataFrame:
    return evals_of(R, **{"trial_id": trial_id, "stream": "permuting", "model": "mlp", **settings})


@pytest.fixture
def matrices() -> list[np.ndarray]:
    rng = np.random.default_rng(1)
    return [np.where(np.tri(k, dtype=bool), rng.uniform(0.2, 1, (k, k)), np.nan) for k in (K, 2, K - 1)]


def chaudhry_forgetting(R: np.ndarray) -> float:
    last = len(R) - 1
    lost = []
    for j in range(last):
        best = max(R[i][j] for i in range(j, last))
        lost.append(best - R[last][j])
    return sum(lost) / last


def gem_backward_transfer(R: np.ndarray) -> float:
    last = len(R) - 1
    total = 0.0
    for j in range(last):
        total += R[last][j] - R[j][j]
    return total / last


def gained_over_a_fresh_network(R: np.ndarray) -> float:
    gained = [R[j][j] - R[0][0] for j in range(1, len(R))]
    return sum(gained) / len(gained)


def test_they_are_what_the_formulas_say_for_each_trial_of_a_store(matrices: list[np.ndarray]) -> None:
    names = ["b", "a", "c"]  # trials of several lengths, not in the order of their names
    evals = pd.concat([trial(R, name) for name, R in zip(names, matrices, strict=True)])
    evals = evals.sample(frac=1, random_state=0)  # rows in any order
    for measure, formula, column in (
        (forgetting, chaudhry_forgetting, "forgetting"),
        (backward_transfer, gem_backward_transfer, "backward"),
        (forward_transfer, gained_over_a_fresh_network, "forward"),
    ):
        found = measure(evals).set_index("trial_id")[column]
        for name, R in zip(names, matrices, strict=True):
            assert found[name] == pytest.approx(formula(R), abs=1e-12), column


def test_psp_cores_own_metrics_agree_where_they_mean_the_same(matrices: list[np.ndarray]) -> None:
    for R in matrices:
        assert backward_transfer(trial(R))["backward"].item() == pytest.approx(metrics.backward_transfer(R).mean())
        R[-1] = R[-1] * 0.1  # then a task's best is never its last, and both maxima are one
        assert forgetting(trial(R))["forgetting"].item() == pytest.approx(metrics.forgetting(R).mean())


def test_a_task_that_ends_better_than_it_ever_was_is_forgotten_by_less_than_nothing() -> None:
    R = np.array([[0.5, np.nan], [0.8, 0.9]])
    assert forgetting(trial(R))["forgetting"].item() == pytest.approx(-0.3)


@pytest.mark.parametrize(
    ("hole", "known"),
    [
        ((3, 1), {"backward", "forward"}),  # the maximum might have been there
        ((2, 2), set()),
        ((5, 0), {"forward"}),
        ((5, 5), {"forgetting", "backward"}),
        ((0, 0), set()),
    ],
)
def test_nothing_is_said_of_what_was_not_measured(
    matrices: list[np.ndarray], hole: tuple[int, int], known: set[str]
) -> None:
    R = matrices[0]
    R[hole] = np.nan
    evals = trial(R)
    found = {
        "forgetting": forgetting(evals)["forgetting"].item(),
        "backward": backward_transfer(evals)["backward"].item(),
        "forward": forward_transfer(evals)["forward"].item(),
    }
    assert {name for name, value in found.items() if np.isfinite(value)} == known


def test_one_task_has_neither() -> None:
    evals = trial(np.array([[0.5]]))
    assert np.isnan(forgetting(evals)["forgetting"].item())
    assert np.isnan(backward_transfer(evals)["backward"].item())
    assert np.isnan(forward_transfer(evals)["forward"].item())


@pytest.mark.parametrize("settings", [{"stream": "split"}, {"model": "small-conv"}])
def test_where_tasks_are_not_alike_no_task_stands_for_another(
    matrices: list[np.ndarray], settings: dict[str, str]
) -> None:
    evals = pd.concat([trial(matrices[0], "a", **settings), trial(matrices[1], "b")])
    found = forward_transfer(evals).set_index("trial_id")["forward"]
    assert np.isnan(found["a"])
    assert np.isfinite(found["b"])


def test_permuting_tasks_are_alike_for_networks_that_are_fully_connected_and_for_no_others() -> None:
    from analysis.transfer import ALIKE
    from psp_core.models import MODELS

    assert {name for name, model in MODELS.items() if not model().convolves} == set(ALIKE["permuting"])


def test_more_forgetting_is_more_lost_to_each_later_task(matrices: list[np.ndarray]) -> None:
    since = np.subtract.outer(range(K), range(K))
    faded = [np.where(since >= 0, 0.9 * share ** np.maximum(since, 0), np.nan) for share in (1.0, 0.9, 0.5)]
    lost = [forgetting(trial(R))["forgetting"].item() for R in faded]
    assert lost[0] == pytest.approx(0)
    assert all(less < more for less, more in pairwise(lost))

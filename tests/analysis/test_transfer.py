"""Forgetting and transfer against plain loops over R, written from the published formulas."""

from itertools import pairwise

import numpy as np
import pandas as pd
import pytest

from analysis import transfer
from analysis.transfer import backward_transfer, forgetting
from psp_core import metrics
from tests.analysis.test_tables import evals_of

K = 6


def forward_transfer(evals: pd.DataFrame, trials: pd.DataFrame | None = None) -> pd.DataFrame:
    return transfer.forward_transfer(evals, pd.DataFrame() if trials is None else trials)


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


# Over nets that were trained on one task alone

NET = {"context": "none, independent nets"}


def stored(evals: pd.DataFrame, nets: list[str], **settings: object) -> pd.DataFrame:
    """The trials of these evals, of which some are independent nets."""
    rows = evals.drop_duplicates("trial_id")[["trial_id", "width", "stream", "model"]].assign(
        method="psp", trunk="shared"
    )
    rows = rows.assign(curve_of='{"context":"binary"}', **settings)
    of_nets = {
        "method": "standard",
        "trunk": "independent",
        "curve_of": '{"context":"none","trunk":", independent nets"}',
    }
    rows.loc[rows["trial_id"].isin(nets), [*of_nets, *settings]] = [*of_nets.values(), *[None] * len(settings)]
    return rows


@pytest.mark.parametrize("stream", ["permuting", "split"])
def test_an_independent_net_of_the_seed_stands_for_each_task_alone(matrices: list[np.ndarray], stream: str) -> None:
    R = matrices[0]
    rng = np.random.default_rng(2)
    alone = [np.where(np.tri(K, dtype=bool), rng.uniform(0.2, 1, K), np.nan) for _ in range(2)]  # R[i, j] = R[j, j]
    evals = pd.concat([
        trial(R, "a", stream=stream), trial(R[:4, :4], "b", stream=stream, seed=1),
        *(trial(each, f"net {seed}", stream=stream, seed=seed, lr=0.9, **NET) for seed, each in enumerate(alone)),
    ])  # fmt: skip
    evals = evals.assign(
        strength=np.where(evals["context"] == "binary", 10.0, 1.0)
    )  # a usual value, where nets have none
    found = forward_transfer(evals, stored(evals, ["net 0", "net 1"], strength=10.0)).set_index("trial_id")
    for name, seed, tasks in (("a", 0, K), ("b", 1, 4)):
        expected = [R[j][j] - alone[seed][j][j] for j in range(1, tasks)]
        assert found["forward"][name] == pytest.approx(sum(expected) / len(expected))
    assert found["forward"]["net 0"] == 0
    assert found["is_over_alone"].all()


@pytest.mark.parametrize(
    ("net", "row"),
    [
        ({"width": 16}, {}),
        ({"seed": 1}, {}),
        ({"model": "lenet-300-100"}, {}),
        ({}, {"trunk": "per-task"}),
        ({}, {"method": "psp"}),
        ({}, {"curve_of": '{"context":"none","trunk":", independent nets","heads":", head per task"}'}),
    ],
)
def test_a_net_of_other_settings_does_not(
    matrices: list[np.ndarray], net: dict[str, object], row: dict[str, str]
) -> None:
    evals = pd.concat([trial(matrices[0], "a"), trial(matrices[0] / 2, "net", **NET, **net)])
    trials = stored(evals, ["net"])
    trials.loc[trials["trial_id"] == "net", list(row)] = list(row.values())
    found = forward_transfer(evals, trials).set_index("trial_id")
    assert found["forward"]["a"] == pytest.approx(gained_over_a_fresh_network(matrices[0]))
    assert not found["is_over_alone"]["a"]


def test_a_curve_has_one_reference_for_all_its_seeds(matrices: list[np.ndarray]) -> None:
    R = matrices[0]
    evals = pd.concat(
        [trial(R, "a"), trial(R, "b", seed=1), trial(R / 2, "net", **NET), trial(R, "c", context="rotation")]
    )
    found = forward_transfer(evals, stored(evals, ["net"])).set_index("trial_id")
    assert found["is_over_alone"].to_dict() == {"a": False, "b": False, "net": True, "c": True}
    assert found["forward"]["a"] == found["forward"]["b"] == pytest.approx(gained_over_a_fresh_network(R))
    assert found["forward"]["c"] == pytest.approx(np.mean(np.diagonal(R)[1:] / 2))

"""Networks trained apart and merged, beside the published formulas and beside networks that are trained alone."""

from collections.abc import Sequence
from typing import Any, ClassVar

import pytest
import torch
from torch import Tensor

from psp_core.contexts import get_context
from psp_core.datasets import load_dataset
from psp_core.merging import Average, Merge, RanDeS, TallMasks, TaskArithmetic
from psp_core.methods.merged import MergedLearner
from psp_core.training import PackTraining, train
from psp_core.trial import Trial, TrialConfig
from tests.contracts import rng
from tests.methods import MethodContract

CPU = torch.device("cpu")
MERGES: list[Merge] = [Average(), TaskArithmetic(scale=1.0), TallMasks(), RanDeS(), RanDeS(context="rotation")]


def merged(merge: str, **settings: Any) -> dict[str, Any]:
    return {"name": "merged", "merge": {"name": merge, **settings}}


class TestRanDeS(MethodContract):
    settings: ClassVar[dict[str, Any]] = {"method": merged("randes"), "width": 48, "lr": 0.003}
    others: ClassVar[dict[str, Any]] = {
        "method": {"name": "merged", "merge": {"name": "randes", "context": "rotation"}}
    }


class TestTallMasks(MethodContract):
    settings: ClassVar[dict[str, Any]] = {"method": merged("tall-masks")}
    others: ClassVar[dict[str, Any]] = {"mask_lambda": 0.2}


class TestTaskArithmetic(MethodContract):
    settings: ClassVar[dict[str, Any]] = {
        "method": {"name": "merged", "merge": {"name": "task-arithmetic", "scale": 1}}
    }
    others: ClassVar[dict[str, Any]] = {"method": merged("task-arithmetic", scale=2)}
    learns: ClassVar[float] = 0.4  # of three tasks in one network, of which none was trained with the others


class TestFromTheFirstTask(MethodContract):
    settings: ClassVar[dict[str, Any]] = {"method": {**merged("tall-masks"), "start_from": "first-task"}}
    others: ClassVar[dict[str, Any]] = {"method": merged("tall-masks")}


def retrieved(merge: Merge, deltas_KIO: Tensor, tasks: Sequence[int]) -> Tensor:
    drawn = merge.draw(len(deltas_KIO), deltas_KIO.shape[1], rng(7), CPU)
    return merge.retrieve(deltas_KIO, tasks, drawn)


@pytest.mark.parametrize("merge", MERGES, ids=lambda merge: str(merge.name))
def test_of_one_task_its_own_delta_is_retrieved(merge: Merge) -> None:
    deltas_KIO = torch.randn(1, 9, 4, generator=rng())
    torch.testing.assert_close(retrieved(merge, deltas_KIO, [0]), deltas_KIO)


def test_tall_masks_are_the_published_formula_weight_by_weight() -> None:
    """m_k = |t_0 - t_k| > lambda |t - t_k| with weights t_0 at the start, t_k = t_0 + d_k, and t = t_0 + sum of d."""
    deltas_KIO, first_IO = torch.randn(4, 5, 3, generator=rng()), torch.randn(5, 3, generator=rng(1))
    found = retrieved(TallMasks(mask_lambda=0.6), deltas_KIO, [2, 0])
    for place, task in enumerate([2, 0]):
        for i in range(5):
            for o in range(3):
                first, own = first_IO[i, o].item(), (first_IO + deltas_KIO[task])[i, o].item()
                merged = (first_IO + deltas_KIO.sum(0))[i, o].item()
                is_kept = abs(first - own) > 0.6 * abs(merged - own)
                assert found[place, i, o].item() == pytest.approx((merged - first) * is_kept, abs=1e-5)


@pytest.mark.parametrize("context", ["binary", "rotation", "structured-rotation", "permutation"])
def test_randes_retrieves_a_delta_and_the_others_turned_by_two_matrices(context: str) -> None:
    """W = sum_s C(s) d(s), and C(k)^T W is retrieved, with each context as a matrix."""
    deltas_KIO, kind = torch.randn(3, 8, 4, generator=rng()), get_context(context)
    contexts = kind.sample(3, 8, rng(7))
    matrices = [kind.bind(torch.eye(8), each).mT for each in contexts]  # C x for each column x of the identity
    total_IO = sum(matrix @ delta for matrix, delta in zip(matrices, deltas_KIO, strict=True))
    found = retrieved(RanDeS(context=context), deltas_KIO, [1, 2])
    torch.testing.assert_close(found, torch.stack([matrices[1].mT @ total_IO, matrices[2].mT @ total_IO]))


def test_one_network_for_all_is_the_sum_or_the_mean() -> None:
    deltas_KIO = torch.randn(4, 5, 3, generator=rng())
    for merge, expected in ((Average(), deltas_KIO.mean(0)), (TaskArithmetic(scale=0.3), 0.3 * deltas_KIO.sum(0))):
        for one in retrieved(merge, deltas_KIO, [0, 3]):
            torch.testing.assert_close(one, expected)


def trial(**settings: Any) -> Trial:
    usual = {"dataset": "digits", "width": 16, "num_tasks": 3, "steps_per_task": 30, "batch_size": 16, "lr": 0.01}
    return TrialConfig(**{**usual, "method": merged("average"), **settings})


def learner_of(config: Trial) -> MergedLearner:
    training = PackTraining([config], load_dataset("digits"), CPU)
    while not training.done:
        training.train_task()
    assert isinstance(training.learner, MergedLearner)
    return training.learner


@pytest.mark.usefixtures("float64")
def test_the_first_task_is_trained_as_plain_training_trains_it() -> None:
    (merged,) = train([trial()], progress=False)
    (plain,) = train([trial(method="psp", context="none")], progress=False)
    assert merged.loss[0, 0].item() == pytest.approx(plain.loss[0, 0].item())


@pytest.mark.usefixtures("float64")
def test_later_tasks_start_where_all_do_and_hear_nothing_of_one_another() -> None:
    """Whether another task was trained before makes no difference to a delta."""
    both, config = learner_of(trial()), trial()
    alone = PackTraining([config], load_dataset("digits"), CPU)
    alone.tasks_seen = 2  # as if the first two had been trained
    alone.train_task()
    assert isinstance(alone.learner, MergedLearner)
    for ours, theirs in zip(both.deltas, alone.learner.deltas, strict=True):
        torch.testing.assert_close(ours[:, 2], theirs[:, 2])
        assert ours[:, 1].abs().sum() > 0


def test_from_the_first_task_the_start_is_its_network_and_counts_in_bytes() -> None:
    config = trial(start_from="first-task")
    learner = learner_of(config)
    assert all(deltas[:, 0].abs().sum() == 0 for deltas in learner.deltas)
    assert all(deltas[:, 1].abs().sum() > 0 for deltas in learner.deltas)
    numbers = config.cost.num_params
    assert learner.storage[0].bytes_once == 4 * numbers
    assert learner_of(trial()).storage[0].bytes_once == 0


@pytest.mark.parametrize(
    ("merge", "of_layer"),
    [("average", 0), ("task-arithmetic", 0), ("tall-masks", -(-(65 * 16) // 8)), ("randes", -(-65 // 8))],
)
def test_a_task_costs_what_would_be_stored_of_it(merge: str, of_layer: int) -> None:
    """A layer of 64 inputs and one for the biases, and 16 outputs: nothing, a bit a weight, or a sign an input."""
    assert trial(method=merged(merge)).method.merge.bytes_per_task(65, 16) == of_layer


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"model": "small-conv"}, "model='small-conv' does not apply to method='merged'"),
        ({"num_cycles": 2}, "num_cycles=2: method='merged' trains each task once"),
        ({"merge": {"name": "randes", "context": "complex"}}, "context='complex' does not apply to merge='randes'"),
        ({"merge": {"name": "randes", "context": "gaussian"}}, "context='gaussian' does not apply to merge='randes'"),
        ({"merge": {"name": "tall-masks", "mask_lambda": 0}}, "mask_lambda=0.0 must be a positive"),
        ({"merge": "tall-masks", "context": "rotation"}, "context='rotation' does not apply to merge='tall-masks'"),
    ],
)
def test_what_cannot_be_merged_is_refused(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        TrialConfig(**{"method": "merged", **settings})

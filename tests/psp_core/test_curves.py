"""Measuring every so many steps: the moments, what is measured at them, and that it changes nothing else."""

import pytest
import torch

from psp_core import TrialConfig, load_dataset, train
from psp_core.measuring import CurvePoint, is_moment, next_moment, num_tests
from psp_core.training import PackTraining
from psp_core.trial import replace
from tests.conftest import whole_and_resumed

CPU = torch.device("cpu")
BASE = TrialConfig(
    dataset="digits", width=8, num_tasks=3, steps_per_task=12, batch_size=32, lr=0.003, eval_every=5, eval_from=1
)
SPLIT = replace(BASE, stream="split", classes_per_task=3)
SUPSUP = replace(BASE, method="supsup", context="none", superfluous=5, lr=0.01)
KINDS = {
    "contexts": BASE,
    "complex": replace(BASE, context="complex"),
    "learned contexts": replace(BASE, learned_contexts=True),
    "heads": replace(SPLIT, heads="per-task", context="none"),
    "norms": replace(SPLIT, model="small-conv", norm="per-task"),
    "a net for each task": replace(BASE, context="none", trunk="per-task"),
    "supermasks": SUPSUP,
    "inferred": replace(SUPSUP, task_inference="entropy-one-shot"),
    "transferred": replace(SUPSUP, transfer="running-mean"),
    "first": replace(BASE, eval_tasks="first"),
    "some samples": replace(BASE, eval_samples=40),
}


def test_moments_begin_at_eval_from_and_repeat() -> None:
    config = replace(BASE, eval_every=100, eval_from=1)
    assert [step for step in range(1, 400) if is_moment(config, step)] == [1, 101, 201, 301]
    usual = replace(config, eval_from=None)
    assert [step for step in range(1, 400) if is_moment(usual, step)] == [100, 200, 300]
    assert next_moment(config, 0) == 1
    assert next_moment(config, 1) == 101
    assert next_moment(replace(config, eval_every=None, eval_from=None), 7) > BASE.num_steps


@pytest.mark.parametrize("kind", KINDS)
def test_measuring_on_the_way_changes_nothing_else(kind: str) -> None:
    often = train([KINDS[kind]])[0]
    seldom = train([replace(KINDS[kind], eval_every=None, eval_from=None)])[0]
    assert torch.equal(often.accuracy.nan_to_num(), seldom.accuracy.nan_to_num())
    assert torch.equal(often.loss.nan_to_num(), seldom.loss.nan_to_num())
    assert seldom.curve == []


@pytest.mark.parametrize("kind", KINDS)
def test_a_moment_is_measured_as_a_trial_that_ends_there(kind: str) -> None:
    """Steps 16 and 21 are the fourth and the ninth of task 1: as a task of so many steps ends. To the bit."""
    config = KINDS[kind]
    whole = PackTraining([config], load_dataset("digits"), CPU)
    whole.train_task()
    state = whole.state_dict()
    for taken in (4, 9):
        short = PackTraining([replace(config, steps_per_task=taken)], load_dataset("digits"), CPU)
        short.load_state_dict(state)
        short.curves = [[]]
        short.train_task()
        R, loss = short.measured["accuracy"][0, 1], short.measured["loss"][0, 1]
        again = PackTraining([config], load_dataset("digits"), CPU)
        again.load_state_dict(state)
        again.train_task()
        points = [point for point in again.results()[0].curve if point.step == 12 + taken]
        tasks = {"first": [0], "a net for each task": [1]}.get(kind, [0, 1])
        assert [point.task for point in points] == tasks
        assert [point.measured["accuracy"] for point in points] == R[tasks].tolist()
        assert [point.measured["loss"] for point in points] == loss[tasks].tolist()
        assert {point.measured["num_samples"] for point in points} == set(
            short.measured["num_samples"][0, 1, tasks].tolist()
        )


def test_contexts_that_change_within_a_task_are_measured_with_the_first() -> None:
    """Each of four contexts has three steps: after three the trial is one of three steps and one context."""
    fast = replace(BASE, context="complex", contexts_per_task=4, eval_every=3, eval_from=None)
    curve = train([fast])[0].curve
    assert [point.step for point in curve] == [3, 6, 9, 12, *(step for step in range(15, 37, 3) for _ in range(2))]
    slow = train([replace(fast, contexts_per_task=1, steps_per_task=3)])[0]
    assert (curve[0].measured["accuracy"], curve[0].measured["loss"]) == (
        slow.accuracy[0, 0].item(),
        slow.loss[0, 0].item(),
    )


def test_a_moment_at_the_end_of_a_task_is_R() -> None:
    result = train([replace(BASE, eval_every=12, eval_from=None, eval_samples=40)])[0]
    expected = [(1, 0), (2, 0), (2, 1), (3, 0), (3, 2)]
    assert [(point.step // 12, point.task) for point in result.curve] == expected
    for point, (seen, task) in zip(result.curve, expected, strict=True):
        assert point.measured["accuracy"] == result.accuracy[seen - 1, task].item()
        assert point.measured["num_samples"] == (
            359 if seen == 3 else 40
        )  # after the last task all test images are used


def test_a_stream_with_cycles_is_measured_one_step_into_each_turn() -> None:
    """As paper A's program, which measures after step 0 of each turn."""
    config = replace(
        BASE, stream="rotating", num_cycles=2, steps_per_task=4, eval_every=12, eval_from=1, eval_tasks="first"
    )
    curve = train([config])[0].curve
    assert [(point.step, point.task) for point in curve] == [(1, 0), (13, 0)]


def test_every_member_of_a_pack_has_its_curve_and_goes_on_from_a_file() -> None:
    configs = [replace(BASE, seed=seed) for seed in range(2)]
    whole, second = whole_and_resumed(configs, stop_after=1)
    for mine, theirs in zip(whole.results(), second.results(), strict=True):
        assert mine.curve[-1].step == 36
        assert repr(mine.curve) == repr(theirs.curve)  # NaN is not equal to itself
        assert all(isinstance(point, CurvePoint) for point in theirs.curve)
    assert whole.curves[0] != whole.curves[1]


def test_nothing_of_a_task_in_which_a_member_diverged_is_told() -> None:
    configs = [replace(BASE, optimiser="sgd", lr=lr) for lr in (0.01, 1e30)]
    fine, lost = train(configs)
    assert lost.diverged_at is not None
    assert lost.curve == []
    assert [point.step for point in fine.curve if point.task == 0] == [1, 6, 11, 16, 21, 26, 31, 36]


@pytest.mark.parametrize("kind", sorted(KINDS.keys() - {"a net for each task"}))
def test_what_it_costs_is_known_before(kind: str) -> None:
    config = KINDS[kind]
    result = train([config])[0]
    within = sum(point.measured["num_samples"] for point in result.curve if point.step % config.steps_per_task)
    assert num_tests(config) == pytest.approx(result.num_samples.sum().item() + within, rel=0.05)


def test_what_nets_of_tasks_cost_is_known_before() -> None:
    config = KINDS["a net for each task"]
    within = sum(
        point.measured["num_samples"] for point in train([config])[0].curve if point.step % config.steps_per_task
    )
    assert num_tests(config) == 3 * 359 + within


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"eval_from": 1}, "eval_from=1 says after how many steps .* give eval_every"),
        ({"eval_every": 5, "eval_from": 6}, "eval_from that is not larger"),
        ({"eval_every": 0}, "eval_every=0 must be at least 1"),
        (
            {"eval_every": 5, "method": "hopsupsup", "context": "none", "batch_size": 32},
            "eval_every=5 does not apply to method='hopsupsup'",
        ),
        (
            {
                "eval_every": 5, "method": "supsup", "context": "none", "new_mask_eps": 0.125, "shared_labels": True,
                "task_inference": "entropy-one-shot", "steps_per_decision": 100,
            },
            "eval_every=5 does not apply to method='nns', which can answer for a task when its training has ended",
        ),
    ],
)  # fmt: skip
def test_moments_that_cannot_be_are_refused(settings: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        TrialConfig(**{"dataset": "digits", **settings})


def test_the_training_loss_is_the_mean_of_the_steps_since_the_last_moment_or_since_the_task_began(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Of two members, each its own; moments are 1, 6, 11, 16, ... and tasks have 12 steps."""
    training = PackTraining([BASE, replace(BASE, lr=0.05)], load_dataset("digits"), CPU)
    gradients, losses = training.learner.gradients, []

    def noted(batch: object) -> torch.Tensor:
        losses.append(gradients(batch).clone())
        return losses[-1]

    monkeypatch.setattr(training.learner, "gradients", noted)
    while not training.done:
        training.train_task()
    of_steps = torch.stack(losses)
    windows = {1: (0, 1), 6: (1, 6), 11: (6, 11), 16: (12, 16), 21: (16, 21), 26: (24, 26), 31: (26, 31), 36: (31, 36)}
    for e, result in enumerate(training.results()):
        assert {point.step for point in result.curve} == windows.keys()
        for point in result.curve:
            expected = of_steps[slice(*windows[point.step]), e].double().mean().item()
            assert point.measured["train_loss"] == pytest.approx(expected, rel=1e-5)
    assert result.measurements()["curves"][0]["train_loss"] == pytest.approx(of_steps[0, 1].item())

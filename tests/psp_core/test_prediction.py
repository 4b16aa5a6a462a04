"""Predicted accuracy beside models that are really stored together, and beside what training measures."""

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from psp_core.contexts import CONTEXTS, Context, get_context
from psp_core.datasets import load_dataset
from psp_core.noisy_network import can_predict, noisy_logits, variance
from psp_core.prediction import (
    THEORIES,
    Predicted,
    Prediction,
    PredictionResult,
    PredictionTraining,
    mean_over_tasks,
    numbers_of_others,
)
from psp_core.randomness import generator
from tests.contracts import rng

CPU = torch.device("cpu")
PREDICTABLE = sorted(name for name, context in CONTEXTS.items() if can_predict(context()))
SMALL: dict[str, Any] = {
    "dataset": "digits", "width": 32, "num_tasks": 3, "steps_per_task": 60, "batch_size": 32, "lr": 0.01,
    "predicted_tasks": 5, "noise_draws": 2,
}  # fmt: skip


def trained(*configs: Prediction, stop_after: int | None = None) -> PredictionTraining:
    training = PredictionTraining(list(configs), load_dataset("digits"), CPU)
    while not training.done and training.tasks_seen != stop_after:
        training.train_task()
    return training


def config(**settings: object) -> Prediction:
    return Prediction.from_flat(SMALL | settings)


def of_theory(rows: list[Predicted], theory: str) -> list[Predicted]:
    return [row for row in rows if row.theory == theory]


def of_its_size(weight: Tensor, draw: torch.Generator) -> Tensor:
    """Another model: each weight with a sign or a phase of its own."""
    if weight.dim() == 2:
        return weight * (torch.randint(2, weight.shape, generator=draw) * 2 - 1)
    angles = torch.rand(weight.shape[0], weight.shape[2], generator=draw) * 2 * torch.pi
    turned = torch.complex(*weight.unbind(1)) * torch.polar(torch.ones_like(angles), angles)
    return torch.stack([turned.real, turned.imag], dim=1)


def retrieved_of(context: Context, weight: Tensor, num_others: int, draw: torch.Generator) -> Tensor:
    """What is retrieved of a layer's weights that were stored in a sum with others of their size."""
    models = torch.stack([weight, *(of_its_size(weight, draw) for _ in range(num_others))])
    contexts = context.sample(1 + num_others, weight.shape[0], draw)
    return context.retrieve(context.store(models, contexts).sum(0), contexts[0])


@pytest.mark.parametrize("name", PREDICTABLE)
def test_the_variance_is_that_of_models_that_are_stored_together(name: str) -> None:
    """Four others, 400 draws, 4 inputs, 8 outputs; inputs of which few are large, where contexts differ most."""
    context, draws, num_others = get_context(name), 400, 4
    size = (16, 2, 8) if context.is_complex else (16, 8)
    weight, parts = torch.randn(size, generator=rng()), (2,) if context.is_complex else ()
    x = torch.randn(4, *parts, 16, generator=rng(1)) * torch.linspace(0, 1, 16) ** 4
    squares = torch.zeros(4, 8)
    for draw in range(draws):
        crosstalk = retrieved_of(context, weight, num_others, generator(draw, "stored")) - weight
        if context.is_complex:
            squares += (torch.complex(*x.unbind(1)) @ torch.complex(*crosstalk.unbind(1))).abs().square()
        else:
            squares += (x @ crosstalk).square()
    expected = num_others * variance(context, weight, x)
    torch.testing.assert_close((squares / draws).sum(1), expected.sum(1), rtol=0.12, atol=0)
    assert (squares / draws).sum() == pytest.approx(float(expected.sum()), rel=0.05)


@pytest.mark.parametrize("name", ["binary", "complex", "rotation"])
def test_noise_costs_what_models_cost_that_are_really_stored(name: str) -> None:
    """The predicted accuracy is the mean of 12 networks retrieved from sums of 1 + n models of the network's size."""
    training = trained(config(context=name, num_tasks=1))
    layers, context = training._alone[0], get_context(name)
    dataset = training.dataset
    x_BI, labels_B = dataset.normalise(dataset.test_images), dataset.test_labels
    for num_others in (1, 2):
        stored = []
        for draw in range(12):
            random = generator(draw, "stored", num_others)
            network = [(retrieved_of(context, weight, num_others, random), bias) for weight, bias in layers]
            stored.append(noisy_logits(context, network, None, 0, x_BI, random).argmax(1) == labels_B)
        (row,) = [r for r in of_theory(training.predictions[0], "models") if r.tasks_seen == num_others + 1]
        assert row.accuracy == pytest.approx(torch.stack(stored).double().mean().item(), abs=0.05)


@pytest.mark.parametrize("name", ["binary", "complex", "rotation"])
def test_of_one_task_the_prediction_is_its_accuracy(name: str) -> None:
    (result,) = trained(config(context=name)).results()
    assert isinstance(result, PredictionResult)
    for theory in THEORIES:
        first = of_theory(result.predictions, theory)[0]
        assert first.tasks_seen == 1
        assert first.first_task == result.accuracy[0, 0].item()
        assert first.loss == pytest.approx(result.loss[0, 0].item(), rel=1e-4)


def test_validation_images_are_predicted_where_they_are_measured() -> None:
    (result,) = trained(config(eval_on="validation", validation=200, num_tasks=1)).results()
    assert isinstance(result, PredictionResult)
    assert {row.first_task for row in result.predictions if row.tasks_seen == 1} == {result.accuracy[0, 0].item()}


def test_theories_differ_as_they_should() -> None:
    """Whole models disturb more than increments, and these the mean less than task 0, which has most of them."""
    rows = trained(config(context="binary", lr=0.003)).predictions[0]
    models, responses, increments, moved = ({r.tasks_seen: r for r in of_theory(rows, each)} for each in THEORIES)
    assert list(models) == list(responses) == list(increments) == [1, 2, 3, 4, 5]
    assert list(moved) == [1, 2, 3]  # as many as were trained
    assert models[3].accuracy == models[3].first_task
    assert models[3].first_task < increments[3].first_task < responses[3].first_task
    assert increments[3].accuracy == pytest.approx(np.mean([increments[k].first_task for k in (1, 2, 3)]))
    assert {row.accuracy for row in moved.values()} == {None}


def test_the_mean_over_tasks_takes_straight_lines_between_numbers() -> None:
    numbers, beside = [0, 1, 2, 4], np.array([1.0, 0.8, 0.6, 0.2])
    assert mean_over_tasks(numbers, beside) == pytest.approx([1.0, 0.9, 0.8, (1 + 0.8 + 0.6 + 0.4 + 0.2) / 5])


@pytest.mark.parametrize(
    ("most", "numbers"), [(1, [0]), (2, [0, 1]), (4, [0, 1, 2, 3]), (10, [0, 1, 2, 3, 4, 6, 8, 9])]
)
def test_the_numbers_of_others_end_with_the_last_model(most: int, numbers: list[int]) -> None:
    assert numbers_of_others(most) == numbers


def test_a_context_without_a_proposition_is_trained_alone() -> None:
    (result,) = trained(config(context="none", num_tasks=2)).results()
    assert result.measurements()["predictions"] == []
    assert len(result.measurements()["evals"]) == 3


@pytest.mark.usefixtures("float64")
def test_training_is_as_of_a_trial_and_packs_predict_as_trials_do_alone() -> None:
    configs = [config(context="complex", seed=0), config(context="complex", seed=1, num_tasks=2, predicted_tasks=2)]
    packed = PredictionTraining(configs, load_dataset("digits"), CPU)
    while not packed.done:
        packed.train_task()
    for e, each in enumerate(configs):
        (alone,) = trained(each, stop_after=2).results()
        torch.testing.assert_close(packed.results()[e].loss[:2, :2], alone.loss[:2, :2], equal_nan=True)
        assert isinstance(alone, PredictionResult)
        pairs = zip(packed.predictions[e], alone.predictions, strict=True)
        assert all(ours.accuracy == pytest.approx(theirs.accuracy) for ours, theirs in pairs)


def test_a_pack_that_was_stopped_goes_on_with_its_predictions() -> None:
    whole, first = trained(config()), trained(config(), stop_after=1)
    second = PredictionTraining([config()], load_dataset("digits"), CPU)
    second.load_member_states([first.member_state(0)])
    while not second.done:
        second.train_task()
    assert second.predictions == whole.predictions
    assert torch.equal(second.results()[0].accuracy[-1], whole.results()[0].accuracy[-1])


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"method": "supsup"}, "method='supsup' with model='mlp' does not apply to kind: prediction"),
        ({"model": "small-conv", "dataset": "cifar-10", "width": 4}, "model='small-conv' does not apply"),
        ({"learned_contexts": True}, "learned_contexts=True does not apply to kind: prediction"),
        ({"heads": "per-task"}, "heads='per-task' does not apply"),
        ({"joint": True, "context": "none"}, "joint=True does not apply"),
        ({"predicted_tasks": 0}, "predicted_tasks=0 must be at least 1"),
    ],
)
def test_what_the_theory_is_not_about_is_refused(settings: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        config(**settings)


def test_the_time_that_predictions_take_is_counted() -> None:
    binary, none = (config(context=name).work() for name in ("binary", "none"))
    num_test = config().dataset.sizes.num_test
    assert binary.tests - none.tests == 2 * 2 * len(THEORIES) * 5 * num_test  # two products, two draws, 0 to 4 others
    assert config(context="binary").work(tasks_before=1).tests == config(context="none").work(tasks_before=1).tests

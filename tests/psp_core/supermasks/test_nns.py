"""Training without task identity: how many masks are begun, and what they are trained on."""

import pytest
import torch

from psp_core import Trial, TrialConfig, load_dataset
from psp_core.groups import Stretch
from psp_core.methods.nns import LEAST_MASKS
from psp_core.training import PackTraining
from psp_core.trial import replace
from tests.conftest import in_float64, whole_and_resumed

CPU = torch.device("cpu")
REPEATING = TrialConfig(
    dataset="digits", method="supsup", context="none", permute_first=True, width=100, num_tasks=3, num_cycles=2,
    superfluous=490, steps_per_task=150, steps_per_decision=50, batch_size=64, lr=0.001,
    task_inference="entropy-one-shot", inference_images=64, new_mask_eps=0.125, shared_labels=True,
)  # fmt: skip


def trained(*configs: Trial) -> PackTraining:
    training = PackTraining(configs, load_dataset("digits"), CPU)
    while not training.done:
        training.train_task()
    return training


@pytest.fixture(scope="module")
def repeating() -> PackTraining:
    with in_float64():
        return trained(*(replace(REPEATING, seed=seed) for seed in range(2)))


def test_there_are_as_many_masks_as_tasks_and_each_is_of_one(repeating: PackTraining) -> None:
    """The second time round every task is recognised, so no mask is begun."""
    for result in repeating.results():
        assert result.notes["num_masks"] == 3
        assert result.notes["purity"] == 1
        assert result.notes["total_bytes"] == 3 * result.context_bytes_per_task


def test_a_test_batch_is_answered_by_the_mask_that_it_is_inferred_to_be_of(repeating: PackTraining) -> None:
    for result in repeating.results():
        assert (result.answers["inferred"][-1] == 1).all()
        assert (result.accuracy[-1] > 0.85).all()


def test_a_mask_is_trained_on_where_it_was_left(repeating: PackTraining) -> None:
    """Twice as many steps on each task: better than after the first cycle, of which nothing else was lost."""
    for result in repeating.results():
        assert result.accuracy[-1].mean() > result.accuracy[2].mean()


@pytest.mark.usefixtures("float64")
def test_packed_equals_alone(repeating: PackTraining) -> None:
    alone = trained(replace(REPEATING, seed=1))
    assert torch.equal(alone.learner._stretches_ESK[0], repeating.learner._stretches_ESK[1])
    torch.testing.assert_close(alone.results()[0].loss, repeating.results()[1].loss, equal_nan=True)


def test_training_goes_on_from_its_state_to_the_bit() -> None:
    configs = [replace(REPEATING, seed=seed, steps_per_task=50, steps_per_decision=25) for seed in range(2)]
    whole, second = whole_and_resumed(configs, stop_after=2)
    for mine, theirs in zip(whole.results(), second.results(), strict=True):
        assert torch.equal(mine.loss.nan_to_num(), theirs.loss.nan_to_num())
        assert mine.notes == theirs.notes


def test_nothing_explains_a_batch_well_enough_for_a_very_large_eps() -> None:
    """Every decision begins a mask until there are no more; then masks are trained on again."""
    config = replace(REPEATING, new_mask_eps=1e6, num_tasks=2, num_cycles=4)
    training = trained(config)
    assert training.learner.tables[0].capacity == LEAST_MASKS
    assert training.results()[0].notes["num_masks"] == LEAST_MASKS
    assert training.learner._stretches_ESK.sum() == 4 * 2 * 3


def test_the_larger_eps_the_more_masks() -> None:
    """What is asked of a mask that explains a batch is the more, so that fewer do."""
    packs = [trained(replace(REPEATING, new_mask_eps=eps)) for eps in (0.02, 0.125, 0.5)]
    few, right, many = (training.results()[0].notes["num_masks"] for training in packs)
    assert few < right < many


def test_each_choice_is_what_the_rule_says() -> None:
    """Beside the rule written out for the masks as they are, with alpha's gradient by autograd."""
    config = replace(REPEATING, num_cycles=1, steps_per_task=50)
    training = PackTraining([config], load_dataset("digits"), CPU)
    training.train_task()
    training.begin_task(1)
    learner, batch = training.learner, training._batch(torch.tensor([0]))
    (x_BI,) = batch[0]
    learner._have(0, LEAST_MASKS)
    masks = [learner.tables[0].mask(number) for number in range(LEAST_MASKS)]
    alpha = torch.full((LEAST_MASKS,), 1 / LEAST_MASKS, requires_grad=True)
    h = x_BI
    for layer, weight in enumerate(learner.weights):
        h = h @ (weight[0] * sum(a * mask[layer] for a, mask in zip(alpha, masks, strict=True)))
        h = h.relu() if layer < 2 else h
    log_p = h.log_softmax(1)
    (gradient,) = torch.autograd.grad(-(log_p.exp() * log_p).sum(1).mean(), alpha)
    nu = (-gradient).softmax(0)
    is_new = bool(nu.max() * LEAST_MASKS < 1.125) or nu.argmax() > 0
    stretch = Stretch(task=1, index=0, count=1, batch_size=64, first=lambda: batch, recent=lambda number: iter([batch]))
    assert learner.begin(stretch) == ([0] if is_new else [])
    assert learner.notes(0)["num_masks"] == (2 if is_new else 1)


def test_the_optimiser_does_not_tell_where_a_task_begins(monkeypatch: pytest.MonkeyPatch) -> None:
    """A mask's state is forgotten where images choose another mask, and stays where they do not."""
    training = PackTraining([replace(REPEATING, num_tasks=2, num_cycles=1)], load_dataset("digits"), CPU)
    choices = iter([0, 0, 0, 0, 1, 0])  # task 1 begins with the fourth
    forgotten: list[list[int]] = []
    monkeypatch.setattr(training.learner, "_chosen", lambda e, x: next(choices))
    monkeypatch.setattr(training.optimisers[0], "restart", lambda members: forgotten.append(list(members)))
    training.learner._have(0, 2)
    training.learner._num_used[0] = 2
    while not training.done:
        training.train_task()
    assert forgotten == [[0], [], [], [], [0], [0]]


def test_where_an_untrained_mask_explains_a_batch_best_the_next_new_one_is_begun(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    training = PackTraining([REPEATING], load_dataset("digits"), CPU)
    training.train_task()
    before = training.learner._num_used[0]
    gradient = torch.tensor([0.0, 0.0, 0.0, -9.0, 0.0])  # of the first five masks, for the fourth
    monkeypatch.setattr(training.learner, "_gradient", lambda e, x, number: gradient.expand(len(x), -1))
    assert before == 1
    assert training.learner._chosen(0, torch.zeros(4, 64)) == 1
    assert training.learner._num_used[0] == 2


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"task_inference": "given", "inference_images": 1}, "masks are found by"),
        ({"task_inference": "entropy-binary"}, "masks are found by"),
        ({"optimiser": "adam"}, "trained by 'rmsprop' or 'sgd'"),
        ({"steps_per_decision": 40}, "must divide steps_per_task=150"),
        ({"method": "supsup", "new_mask_eps": None}, "trains each mask once; use one cycle, or give new_mask_eps"),
        (
            {"method": "supsup", "new_mask_eps": None, "num_cycles": 1, "steps_per_decision": 50},
            "steps_per_decision=50 does not apply",
        ),
        ({"new_mask_eps": -1}, "at least 0"),
    ],
)
def test_what_does_not_apply_is_refused(settings: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        replace(REPEATING, **settings)

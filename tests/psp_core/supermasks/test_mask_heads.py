import pytest
import torch
from torch import nn
from torch.func import functional_call

from psp_core import TrialConfig, load_dataset, train
from psp_core.training import PackTraining
from psp_core.trial import replace
from tests.conftest import begin, plain_module, started, whole_and_resumed

CPU = torch.device("cpu")
DIGITS = TrialConfig(
    dataset="digits", method="supsup", context="none", heads="per-task", stream="split", classes_per_task=3, width=8,
    num_tasks=3, steps_per_task=3, batch_size=16, optimiser="sgd", lr=0.1,
)  # fmt: skip
KINDS = {
    "threshold": DIGITS,
    "top-k": replace(DIGITS, masks="top-k", sparsity=3),
    "convolutions": replace(DIGITS, model="small-conv", depth=2, norm="per-task"),
}


@pytest.mark.parametrize("kind", KINDS)
def test_scores_and_head_take_the_steps_of_a_plain_loop(kind: str) -> None:
    """The plain module with weights W * M and the task's head: autograd, straight through M."""
    config = KINDS[kind]
    training, net = PackTraining([config], load_dataset("digits"), CPU), plain_module(config).train()
    pack = training.learner
    training.train_task()  # so that the second task's head is no first row
    stretch = begin(training, 1)
    scores = {name: of_layer[0].clone() for name, of_layer in pack._scores.items()}
    head = {name: row[1:2].clone().requires_grad_() for name, row in net.named_buffers() if name.startswith("last")}
    head |= {
        name: row[1:2].clone().requires_grad_() for name, row in net.named_buffers() if name.startswith("layers.2")
    }
    assert len(head) == 2
    for step in range(3):
        x_EBI, labels_EB = training._batch(torch.tensor([step]))
        masks = dict(zip(scores, pack._masks({name: s[None] for name, s in scores.items()}), strict=True))
        weights = {
            name: (masks[name][0] * weight[0]).requires_grad_()
            for name, weight in zip(scores, pack.weights, strict=True)
        }
        loss = nn.functional.cross_entropy(functional_call(net, weights | head, (x_EBI[0], 0)), labels_EB[0])
        leaves = [*weights.values(), *head.values()]
        gradients = dict(zip([*weights, *head], torch.autograd.grad(loss, leaves), strict=True))
        for (name, of_layer), weight in zip(scores.items(), pack.weights, strict=True):
            of_scores = gradients[name] * weight[0] * (of_layer.sign() if config.method.masks.name == "top-k" else 1)
            of_layer -= config.lr * of_scores
        with torch.no_grad():
            for name, of_task in head.items():
                of_task -= config.lr * gradients[name]
        training._step()
    for name, expected in scores.items():
        torch.testing.assert_close(pack._scores[name][0], expected, atol=1e-5, rtol=1e-4)
    training._taken = 3
    pack.settle(stretch)
    pack.end(stretch)
    for name, expected in head.items():
        torch.testing.assert_close(pack._networks.all_contexts[0][name][1:2], expected.detach(), atol=1e-5, rtol=1e-4)


def test_a_tasks_head_is_trained_in_its_own_task_only_and_its_bytes_are_counted() -> None:
    training = PackTraining([DIGITS, replace(DIGITS, seed=1)], load_dataset("digits"), CPU)
    pack = training.learner
    heads = [of_member["layers.2.weight"] for of_member in pack._networks.all_contexts]
    drawn = torch.stack(heads)
    training.train_task()
    after = torch.stack(heads)
    assert not torch.equal(after[:, 0], drawn[:, 0])
    assert torch.equal(after[:, 1:], drawn[:, 1:])
    training.train_task()
    assert torch.equal(torch.stack(heads)[:, 0], after[:, 0])
    mask_bits = 64 * 8, 8 * 8
    assert pack.storage[0].bytes_per_task == sum(mask_bits) // 8 + 4 * (8 * 3 + 3)
    assert pack.tables[0].shapes == [(64, 8), (8, 8)]


@pytest.mark.parametrize("transfer", ["previous", "running-mean"])
def test_scores_are_transferred_and_heads_begin_as_they_were_drawn(transfer: str) -> None:
    training = PackTraining([replace(DIGITS, transfer=transfer)], load_dataset("digits"), CPU)
    drawn = training.learner._networks.all_contexts[0]["layers.2.weight"].clone()
    training.train_task()
    scores = training.learner._scores["layers.0.weight"].clone()
    begin(training, 1)
    assert torch.equal(training.learner._scores["layers.0.weight"], scores)
    assert torch.equal(training.learner._trained["layers.2.weight"][0], drawn[1])


def test_no_task_loses_anything_and_all_are_learned() -> None:
    config = replace(DIGITS, width=32, steps_per_task=60, optimiser="rmsprop", lr=0.01)
    (result,) = train([config])
    for task in range(3):
        assert torch.equal(result.accuracy[task:, task], result.accuracy[-1:, task].expand(3 - task))
    assert result.final_accuracy > 0.8


def test_a_trial_goes_on_from_its_state_to_the_bit() -> None:
    configs = [replace(DIGITS, seed=seed) for seed in range(2)]
    whole, second = whole_and_resumed(configs, stop_after=1)
    for mine, theirs in zip(whole.results(), second.results(), strict=True):
        assert torch.equal(mine.loss.nan_to_num(), theirs.loss.nan_to_num())


def test_networks_without_heads_are_what_they_were() -> None:
    pack = started(replace(DIGITS, heads="shared"))
    assert set(pack._trained) == set(pack._scores)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"depth": 0, "width": 256}, "no layer left that masks could choose from"),
        ({"task_inference": "entropy-one-shot"}, "with heads='per-task': a task is inferred from a mix of masks"),
        ({"superfluous": 3}, "superfluous=3, task_inference='given' with heads='per-task'"),
    ],
)
def test_what_heads_leave_no_room_for_is_refused(settings: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        replace(DIGITS, **settings)

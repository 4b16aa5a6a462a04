"""Whole trials with supermasks, beside a plain loop, and in packs."""

import pytest
import torch
from torch import nn

from psp_core import TrialConfig, load_dataset, train
from psp_core.methods.supsup import SupermaskLearner
from psp_core.randomness import generator
from psp_core.streams.permuting import PermutingTasks
from psp_core.supermasks import (
    csc_bytes,
    erdos_renyi_density,
    score_init,
    signed_kaiming_constant,
    threshold_mask,
    top_k_mask,
)
from psp_core.training import PackTraining
from psp_core.trial import replace
from psp_core.visits import batch_order
from tests.conftest import assert_packed_equals_alone, whole_and_resumed

CPU = torch.device("cpu")
DIGITS = TrialConfig(
    dataset="digits", method="supsup", context="none", permute_first=True, width=32, num_tasks=3, superfluous=20,
    steps_per_task=60, batch_size=64, lr=0.003,
)  # fmt: skip
KINDS = {
    "threshold": DIGITS,
    "top-k": replace(DIGITS, masks="top-k", sparsity=12),
    "entropy": replace(DIGITS, task_inference="entropy-one-shot"),
    "superfluous": replace(DIGITS, task_inference="superfluous-binary", inference_images=128),
    "lenet": replace(DIGITS, model="lenet-300-100", width=256, num_tasks=2, steps_per_task=20),
    "previous": replace(DIGITS, transfer="previous"),
    "running-mean": replace(DIGITS, transfer="running-mean"),
    "convolutions": replace(DIGITS, model="small-conv", width=4, masks="top-k", sparsity=4, num_tasks=2, lr=0.01),
    "norms": replace(DIGITS, model="small-conv", width=4, norm="per-task", num_tasks=2, lr=0.01),
}


class StraightThrough(torch.autograd.Function):
    """A mask in the forward pass, the identity (of |S|'s sign, for top-k) in the backward."""

    @staticmethod
    def forward(ctx, scores: torch.Tensor, density: float | None) -> torch.Tensor:
        ctx.save_for_backward(scores)
        ctx.density = density
        return threshold_mask(scores) if density is None else top_k_mask(scores, density)

    @staticmethod
    def backward(ctx, gradient: torch.Tensor) -> tuple[torch.Tensor, None]:
        (scores,) = ctx.saved_tensors
        return (gradient if ctx.density is None else gradient * scores.sign()), None


def starting_scores(
    transfer: str, task: int, index: int, size: tuple[int, int], trained: list[list[torch.Tensor]]
) -> torch.Tensor:
    if task == 0 or transfer == "random":
        return score_init(*size, generator(0, "scores", task, index))
    before = [scores[index].detach() for scores in trained]
    return before[-1].clone() if transfer == "previous" else torch.stack(before).mean(0)


@pytest.mark.usefixtures("float64")
@pytest.mark.parametrize("kind", ["threshold", "top-k", "previous", "running-mean"])
def test_R_is_what_a_plain_loop_gives(kind: str) -> None:
    config, data, stream = KINDS[kind], load_dataset("digits"), PermutingTasks(64, 0, permute_first=True)
    sizes = [(64, 32), (32, 32), (32, 30)]
    weights = [signed_kaiming_constant(*size, generator(0, "frozen weights", i)) for i, size in enumerate(sizes)]
    densities = [erdos_renyi_density(12, *size) if config.method.masks.name == "top-k" else None for size in sizes]
    masks_of_task, trained = [], []

    def logits(x: torch.Tensor, masks: list[torch.Tensor]) -> torch.Tensor:
        for weight, mask in zip(weights[:-1], masks, strict=False):
            x = (x @ (weight * mask)).relu()
        return x @ (weights[-1] * masks[-1])

    R = torch.full((3, 3), float("nan"), dtype=torch.float64)
    for task in range(3):
        start = [starting_scores(config.transfer, task, i, size, trained) for i, size in enumerate(sizes)]
        scores = [of_layer.requires_grad_() for of_layer in start]
        optimiser = torch.optim.RMSprop(scores, lr=config.lr)
        for samples in batch_order(config, len(data.train_labels), task):
            x = data.normalise(data.train_images[samples][:, stream.describe(task)])
            optimiser.zero_grad()
            masks = [StraightThrough.apply(s, d) for s, d in zip(scores, densities, strict=True)]
            nn.functional.cross_entropy(logits(x, masks), data.train_labels[samples]).backward()
            optimiser.step()
        trained.append(scores)
        masks_of_task.append([StraightThrough.apply(s, d).detach() for s, d in zip(scores, densities, strict=True)])
        for j in range(task + 1):
            found = logits(data.normalise(data.test_images[:, stream.describe(j)]), masks_of_task[j]).argmax(dim=1)
            R[task, j] = (found == data.test_labels).double().mean()
    torch.testing.assert_close(train([config])[0].accuracy, R, equal_nan=True)


@pytest.mark.usefixtures("float64")
@pytest.mark.parametrize("kind", KINDS)
def test_packed_equals_alone(kind: str) -> None:
    base = KINDS[kind]
    assert_packed_equals_alone([replace(base, seed=seed, lr=lr) for seed, lr in [(0, 0.003), (1, 0.001), (1, 0.002)]])


@pytest.mark.parametrize("kind", ["threshold", "entropy", "previous", "running-mean", "norms"])
def test_training_goes_on_from_its_state_to_the_bit(kind: str) -> None:
    configs = [replace(KINDS[kind], seed=seed) for seed in range(2)]
    whole, second = whole_and_resumed(configs, stop_after=1)
    for mine, theirs in zip(whole.results(), second.results(), strict=True):
        assert torch.equal(mine.loss.nan_to_num(), theirs.loss.nan_to_num())
        assert mine.answers.keys() == theirs.answers.keys()
        assert all(
            torch.equal(mine.answers[name].nan_to_num(), theirs.answers[name].nan_to_num()) for name in mine.answers
        )


def test_nothing_of_a_task_is_lost_when_others_follow() -> None:
    result = train([DIGITS])[0]
    torch.testing.assert_close(result.loss[2, :2], result.loss[1, :2], atol=1e-5, rtol=1e-5)
    assert result.accuracy[2].min() > 0.8


@pytest.mark.usefixtures("float64")
@pytest.mark.parametrize("kind", ["entropy", "superfluous"])
def test_a_batch_whose_task_is_taken_for_another_counts_as_wrong(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """All found: as if it were given. None found: 0. One of three batches of 128, 128 and 103 images: its share."""
    config = replace(KINDS[kind], num_tasks=1)
    given = train([replace(config, task_inference="given", inference_images=1)])[0].accuracy
    found = train([config])[0]
    assert found.answers["inferred"].item() == 1
    torch.testing.assert_close(found.accuracy, given)
    monkeypatch.setattr(SupermaskLearner, "find", lambda self, member, x: torch.full((len(x),), 7))
    lost = train([config])[0]
    assert lost.answers["inferred"].item() == 0
    assert lost.accuracy.item() == 0


@pytest.mark.usefixtures("float64")
def test_with_statistics_of_its_own_a_task_answers_image_by_image() -> None:
    """Measured on training batches with the task's own masks, or single images would not be classified by them."""
    training = PackTraining([KINDS["norms"]], load_dataset("digits"), CPU)
    while not training.done:
        training.train_task()
    pack, data = training.learner, training.dataset
    for task in range(2):
        stream = PermutingTasks(64, 0, permute_first=True)
        x = data.normalise(data.test_images[:100, stream.describe(task)])
        alone = torch.cat([pack.answer_as(0, task, x[i : i + 1]) for i in range(100)])
        torch.testing.assert_close(alone, pack.answer_as(0, task, x))
        assert (alone.argmax(1) == data.test_labels[:100]).float().mean() > 0.2  # 0.1 is chance
    assert training.results()[0].context_bytes_per_task == -(-36 // 8) + -(-288 // 8) + -(-240 // 8) + 8 * (4 + 8)


def test_masks_cost_a_bit_a_weight_and_weights_a_seed() -> None:
    result = train([replace(DIGITS, num_tasks=1, steps_per_task=1)])[0]
    assert result.context_bytes_per_task == (64 * 32 + 32 * 32 + 32 * 30) // 8
    assert result.num_params == 0


def test_the_paper_counts_a_task_by_its_ones_and_its_outputs() -> None:
    training = PackTraining([replace(DIGITS, num_tasks=2)], load_dataset("digits"), CPU)
    while not training.done:
        training.train_task()
    masks = [training.learner.tables[0].mask(task) for task in range(2)]
    expected = sum(csc_bytes(mask) for of_task in masks for mask in of_task) / 2
    assert training.results()[0].notes == {"csc_bytes_per_task": expected}
    assert expected > 8 * training.results()[0].context_bytes_per_task  # half of the weights, 16 bits each


@pytest.mark.usefixtures("float64")
def test_convolutions_train_by_masks_alone_as_a_plain_loop_does() -> None:
    """The loss after each of some steps: torch's own convolutions and optimiser, weights and masks of each layer."""
    config = replace(KINDS["convolutions"], num_tasks=1, steps_per_task=12, superfluous=0)
    training = PackTraining([config], load_dataset("digits"), CPU)
    training.begin_task(0)
    training.take_steps()
    data, stream = load_dataset("digits"), PermutingTasks(64, 0, permute_first=True)
    shapes = [(1, 4, 3), (4, 8, 3), (8, 10, 1)]  # input channels, output channels, side of the kernel
    sizes = [(i * k * k, o) for i, o, k in shapes]
    weights = [signed_kaiming_constant(*size, generator(0, "frozen weights", n)) for n, size in enumerate(sizes)]
    scores = [score_init(*size, generator(0, "scores", 0, n)).requires_grad_() for n, size in enumerate(sizes)]
    densities = [erdos_renyi_density(4, i, o, k * k) for i, o, k in shapes]
    assert densities[1] < 0.5 < 4 * 12 / 32
    optimiser, losses = torch.optim.RMSprop(scores, lr=config.lr), []
    for samples in batch_order(config, len(data.train_labels), 0):
        h = data.normalise(data.train_images[samples][:, stream.describe(0)]).view(-1, 1, 8, 8)
        masked = [w * StraightThrough.apply(s, d) for w, s, d in zip(weights, scores, densities, strict=True)]
        for kernel, (i, o, k) in zip(masked[:2], shapes[:2], strict=True):
            h = nn.functional.conv2d(h, kernel.T.reshape(o, i, k, k), padding=1)
            h = nn.functional.max_pool2d(nn.functional.batch_norm(h, None, None, training=True).relu(), 2)
        optimiser.zero_grad()
        loss = nn.functional.cross_entropy(h.mean((2, 3)) @ masked[2], data.train_labels[samples])
        loss.backward()
        optimiser.step()
        losses.append(loss.detach())
    torch.testing.assert_close(training._losses_SE[:, 0], torch.stack(losses))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (
            {"context": "binary"},
            "context='binary' does not apply to method='supsup'; leave it out, or use 'psp'",
        ),
        ({"masks": "top-k"}, "masks='top-k' needs sparsity: How many weights"),
        ({"sparsity": 4}, "sparsity=4 does not apply to masks='threshold'; leave it out, or use 'top-k'"),
        ({"superfluous": 0, "task_inference": "superfluous-one-shot"}, "needs superfluous outputs"),
        ({"task_inference": "entropy-oneshot"}, "did you mean 'entropy-one-shot'"),
        ({"method": "psp"}, "superfluous=20, .* context='none' has none that can be mixed"),
        ({"method": "supsub"}, "did you mean 'supsup'"),
        ({"precision": "bfloat16"}, "'tf32' alone so far"),
        ({"method": "psp", "superfluous": 0, "transfer": "previous"}, "transfer='previous' does not apply"),
        ({"model": "lenet-300-100", "width": 32}, "width=32 does not apply"),
        ({"stream": "rotating", "permute_first": False, "num_cycles": 2}, "trains each mask once; use one cycle"),
    ],
)
def test_what_does_not_apply_is_refused(settings: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        replace(DIGITS, **settings)

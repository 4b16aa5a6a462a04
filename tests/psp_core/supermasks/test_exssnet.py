"""ExSSNeT, beside a plain loop: masks are trained, then the weights that no earlier mask has."""

from typing import Any, ClassVar

import pytest
import torch
from sklearn.neighbors import KNeighborsClassifier
from torch import Tensor, nn

from psp_core import Trial, TrialConfig, load_dataset, train
from psp_core.methods import supsup
from psp_core.methods.exssnet import ExclusiveLearner, compared_steps, neighbours_accuracy
from psp_core.randomness import generator
from psp_core.supermasks import erdos_renyi_density, score_init, signed_kaiming_constant
from psp_core.training import PackTraining
from psp_core.trial import replace
from psp_core.visits import batch_order
from tests.conftest import assert_packed_equals_alone, in_float64, tasks_of
from tests.contracts import rng
from tests.methods import MethodContract
from tests.psp_core.supermasks.test_supsup import StraightThrough

CPU = torch.device("cpu")
SPARSE: dict[str, Any] = {"masks": "top-k", "sparsity": 2}
KKT: dict[str, Any] = {"neighbours": 5}
DIGITS = TrialConfig(
    dataset="digits", method="exssnet", permute_first=True, width=24, num_tasks=3, steps_per_task=40, batch_size=32,
    lr=0.01,
)  # fmt: skip
SIZES = [(64, 24), (24, 24), (24, 10)]
KINDS = {
    "threshold": DIGITS,
    "top-k": replace(DIGITS, **SPARSE),
    "weights in random masks": replace(DIGITS, weight_training=1),
    "transfer": replace(DIGITS, **SPARSE, **KKT),
    "transfer by a margin": replace(DIGITS, **SPARSE, **KKT, transfer_margin=0.8),
    "weight decay": replace(DIGITS, optimiser="adam", weight_decay=0.01),
}


class TestExSSNeT(MethodContract):
    settings: ClassVar[dict[str, Any]] = {"method": "exssnet", **SPARSE}
    others: ClassVar[dict[str, Any]] = {"weight_training": 0.25}
    forgets = False


class TestTransfer(MethodContract):
    settings: ClassVar[dict[str, Any]] = {"method": "exssnet", **SPARSE, **KKT}
    others: ClassVar[dict[str, Any]] = {"neighbours": 7}
    forgets = False


class TestConvolutions(MethodContract):
    settings: ClassVar[dict[str, Any]] = {
        "method": "exssnet", **KKT, "model": "small-conv", "norm": "per-task", "width": 8, "lr": 0.03,
    }  # fmt: skip
    others: ClassVar[dict[str, Any]] = {"frozen_weights": "kaiming-normal"}
    forgets = False
    learns = 0.3


class PlainLoop:
    """The method with torch's own optimisers, and scikit-learn's neighbours."""

    def __init__(self, config: Trial) -> None:
        self.config, self.data, self.stream = config, load_dataset("digits"), tasks_of(config)
        self.weights = [
            signed_kaiming_constant(*size, generator(0, "frozen weights", i)).requires_grad_()
            for i, size in enumerate(SIZES)
        ]
        is_sparse = config.method.masks.name == "top-k"
        self.densities = [erdos_renyi_density(2, *size) if is_sparse else None for size in SIZES]
        self.masks, self.scores, self.sources = [], [], []

    def masks_of(self, scores: list[Tensor]) -> list[Tensor]:
        return [StraightThrough.apply(s, d) for s, d in zip(scores, self.densities, strict=True)]

    def hidden(self, x: Tensor, masks: list[Tensor]) -> Tensor:
        for weight, mask in zip(self.weights[:-1], masks, strict=False):
            x = (x @ (weight * mask)).relu()
        return x

    def logits(self, x: Tensor, masks: list[Tensor]) -> Tensor:
        return self.hidden(x, masks) @ (self.weights[-1] * masks[-1])

    def batches(self, task: int) -> list[tuple[Tensor, Tensor]]:
        order = batch_order(self.config, len(self.data.train_labels), task)
        x = self.data.train_images[:, self.stream.describe(task)]
        return [(self.data.normalise(x[samples]), self.data.train_labels[samples]) for samples in order]

    def optimiser(self, leaves: list[Tensor]) -> torch.optim.Optimizer:
        kinds = {"rmsprop": torch.optim.RMSprop, "adam": torch.optim.Adam}
        decay = self.config.optimiser.weight_decay
        return kinds[self.config.optimiser.name](leaves, lr=self.config.lr, weight_decay=decay)

    def first_scores(self, task: int) -> list[Tensor]:
        method, source = self.config.method, -1
        if method.neighbours and task:
            shown = self.batches(task)[: -(-int(0.2 * 1438) // 32)]
            x, labels = (torch.cat(parts) for parts in zip(*shown, strict=True))
            known, accuracy = round(len(x) * 2 / 3), []
            for masks in self.masks:
                found = KNeighborsClassifier(method.neighbours)
                seen = self.hidden(x, masks).detach().numpy()
                found.fit(seen[:known], labels[:known].numpy())
                accuracy.append(found.score(seen[known:], labels[known:].numpy()))
            if max(accuracy) > 0.1 + method.margin:
                source = accuracy.index(max(accuracy))
        self.sources.append(source)
        if source >= 0:
            return [scores.clone() for scores in self.scores[source]]
        return [score_init(*size, generator(0, "scores", task, i)) for i, size in enumerate(SIZES)]

    def train(self, task: int) -> None:
        scores = [of_layer.requires_grad_() for of_layer in self.first_scores(task)]
        batches, optimiser = self.batches(task), self.optimiser(scores)
        of_weights = round(len(batches) * self.config.method.weight_training)
        for x, labels in batches[: len(batches) - of_weights]:
            optimiser.zero_grad()
            nn.functional.cross_entropy(self.logits(x, self.masks_of(scores)), labels).backward()
            optimiser.step()
        masks, optimiser = [mask.detach() for mask in self.masks_of(scores)], self.optimiser(self.weights)
        earlier = [sum(of_layer) for of_layer in zip(*self.masks, strict=True)] or [0.0] * len(masks)
        for x, labels in batches[len(batches) - of_weights :]:
            optimiser.zero_grad()
            nn.functional.cross_entropy(self.logits(x, masks), labels).backward()
            before = [weight.detach().clone() for weight in self.weights]
            optimiser.step()
            with torch.no_grad():
                for weight, old, mask, of_earlier in zip(self.weights, before, masks, earlier, strict=True):
                    weight.copy_(torch.where((mask == 1) & (torch.as_tensor(of_earlier) == 0), weight, old))
        self.masks.append(masks)
        self.scores.append([of_layer.detach() for of_layer in scores])

    def accuracy(self, task: int) -> Tensor:
        x = self.data.normalise(self.data.test_images[:, self.stream.describe(task)])
        return (self.logits(x, self.masks[task]).argmax(dim=1) == self.data.test_labels).double().mean()


@pytest.mark.usefixtures("float64")
@pytest.mark.parametrize("kind", KINDS)
def test_R_is_what_a_plain_loop_gives(kind: str) -> None:
    config = KINDS[kind]
    plain, training = PlainLoop(config), trained(config)
    R = torch.full((3, 3), float("nan"), dtype=torch.float64)
    for task in range(3):
        plain.train(task)
        R[task, : task + 1] = torch.stack([plain.accuracy(j) for j in range(task + 1)])
    torch.testing.assert_close(training.results()[0].accuracy, R, equal_nan=True)
    learner = learner_of(training)
    for ours, theirs in zip(learner.weights, plain.weights, strict=True):
        torch.testing.assert_close(ours[0], theirs.detach())
    assert learner.sources[0].tolist() == plain.sources
    assert (max(plain.sources) >= 0) == (kind == "transfer")


def trained(*configs: Trial) -> PackTraining:
    training = PackTraining(configs, load_dataset("digits"), CPU)
    while not training.done:
        training.train_task()
    return training


def learner_of(training: PackTraining) -> ExclusiveLearner:
    learner = training.learner
    assert isinstance(learner, ExclusiveLearner)
    return learner


def test_without_training_of_weights_it_is_supsup() -> None:
    (ours,), (theirs,) = (
        train([TrialConfig(**{**DIGITS.chosen, "method": method})], progress=False)
        for method in ({"name": "exssnet", "weight_training": 0.0}, {"name": "supsup"})
    )
    assert torch.equal(ours.loss.nan_to_num(), theirs.loss.nan_to_num())


@pytest.mark.usefixtures("float64")
def test_with_masks_of_ones_the_first_task_trains_a_plain_network(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(supsup, "score_init", lambda inputs, outputs, rng: torch.ones(inputs, outputs))
    config = replace(DIGITS, weight_training=1, num_tasks=2)
    training, plain = PackTraining([config], load_dataset("digits"), CPU), PlainLoop(config)
    net = nn.Sequential(*(nn.utils.skip_init(nn.Linear, *size, bias=False) for size in SIZES))
    for linear, weight in zip(net, plain.weights, strict=True):
        linear.weight.data = weight.detach().T.clone()
    optimiser = torch.optim.RMSprop(net.parameters(), lr=config.lr)
    for x, labels in plain.batches(0):
        optimiser.zero_grad()
        nn.functional.cross_entropy(net[2](net[1](net[0](x).relu()).relu()), labels).backward()
        optimiser.step()
    training.train_task()
    for ours, linear in zip(learner_of(training).weights, net, strict=True):
        torch.testing.assert_close(ours[0], linear.weight.detach().T)
    before = [weight.clone() for weight in learner_of(training).weights]
    training.train_task()  # which finds no weight that is free
    assert all(map(torch.equal, learner_of(training).weights, before))
    assert training.results()[0].notes["used_share"] == 1


@pytest.mark.parametrize(
    "optimiser",
    [
        {"optimiser": "sgd", "lr": 0.05, "momentum": 0.9, "weight_decay": 0.01},
        {"optimiser": "adam", "lr": 0.01, "weight_decay": 0.01},
        {"optimiser": "rmsprop", "lr": 0.003, "momentum": 0.9, "weight_decay": 0.01},
    ],
    ids=lambda settings: settings["optimiser"],
)
def test_weights_of_earlier_masks_and_what_tasks_answer_stay_to_the_bit(optimiser: dict[str, Any]) -> None:
    training = PackTraining([replace(KINDS["transfer"], **optimiser)], load_dataset("digits"), CPU)
    learner = learner_of(training)
    for task in range(3):
        before = [(weight.clone(), taken.clone()) for weight, taken in zip(learner.weights, learner.taken, strict=True)]
        training.train_task()
        masks = [mask.bool() for mask in learner.tables[0].mask(task)]
        for (old, taken), weight, mask in zip(before, learner.weights, masks, strict=True):
            own = mask & ~taken
            assert torch.equal(weight[~own], old[~own])
            assert (weight[own] != old[own]).any()
    loss = training.results()[0].loss
    assert torch.equal(loss[1, 0], loss[0, 0])
    assert torch.equal(loss[2, :2], loss[1, :2])


@pytest.mark.parametrize("norm", ["static", "per-task"])
def test_packed_equals_alone_where_layers_are_convolutions_and_tasks_are_inferred(norm: str) -> None:
    base = replace(
        DIGITS, model="small-conv", width=4, norm=norm, task_inference="entropy-one-shot", steps_per_task=20, **KKT
    )
    with in_float64():
        assert_packed_equals_alone([replace(base, seed=seed, lr=lr) for seed, lr in [(0, 0.01), (1, 0.03), (1, 0.01)]])


def test_a_task_in_training_is_measured_with_the_mask_and_the_weights_of_that_moment() -> None:
    trial = replace(DIGITS, num_tasks=2, eval_every=10, eval_tasks="all")
    (measured,) = train([trial], progress=False)
    for steps in (10, 20):
        (scores,) = train([replace(trial, num_tasks=1, steps_per_task=steps, weight_training=0.0)], progress=False)
        assert next(p for p in measured.curve if p.step == steps).measured["loss"] == scores.loss.item()
    of_first = {point.step: point.measured["loss"] for point in measured.curve if point.task == 0}
    assert of_first[40] not in (of_first[20], of_first[30])
    assert of_first[40] == of_first[60] == of_first[80]


@pytest.mark.parametrize("neighbours", [1, 4, 400])
def test_neighbours_answer_as_scikit_learn_s(neighbours: int) -> None:
    """400 are more than are known: then all of these answer."""
    x, labels = torch.randn(90, 3, generator=rng()), torch.randint(3, (90,), generator=rng(1))
    theirs = KNeighborsClassifier(min(neighbours, 60)).fit(x[:60].numpy(), labels[:60].numpy())
    assert neighbours_accuracy(x, labels, neighbours) == theirs.score(x[60:].numpy(), labels[60:].numpy())


def test_a_representation_is_what_the_last_layer_reads() -> None:
    training, x = trained(DIGITS), torch.randn(5, 64, generator=rng())
    learner = learner_of(training)
    last = learner.weights[-1][0] * learner.tables[0].mask(1)[-1]
    torch.testing.assert_close(learner.representation(0, 1, x) @ last, learner.answer(0, 1, x))


def test_one_image_tells_nothing() -> None:
    assert neighbours_accuracy(torch.zeros(1, 2), torch.zeros(1, dtype=torch.int64), 1) == 0
    trial = replace(DIGITS, **KKT, batch_size=1, steps_per_task=1)
    assert compared_steps(trial) == 1
    assert train([trial], progress=False)[0].notes["num_transferred"] == 0


def test_weights_count_once_masks_by_bits_and_scores_of_every_task_where_any_may_be_transferred() -> None:
    numbers = 64 * 24 + 24 * 24 + 24 * 10
    (result,) = train([replace(KINDS["transfer"], steps_per_task=2)], progress=False)
    row = {**result.config.facts, **result.outcomes()}
    assert row["weights_bytes"] == 4 * numbers
    assert row["masks_bytes"] == 3 * numbers // 8
    assert row["scores_bytes"] == 3 * 4 * numbers
    assert row["answer_bytes"] == row["total_bytes"] == 4 * numbers + 3 * numbers // 8
    assert row["num_trained"] == numbers + 3 * numbers
    assert DIGITS.facts["scores_bytes"] == 0


def test_a_step_s_products_are_supsup_s_and_kkt_s_come_when_tasks_end() -> None:
    plain = TrialConfig(**{**DIGITS.chosen, "method": "supsup"})
    assert DIGITS.facts["train_flops"] == plain.facts["train_flops"]
    assert DIGITS.facts["answer_flops"] == plain.facts["answer_flops"]
    transferring = KINDS["transfer"]
    images, products = compared_steps(transferring) * 32, sum(i * o for i, o in SIZES)
    assert images == 288
    asked = 0 + 1 + 2  # earlier tasks' networks, of each task
    of_kkt = asked * (images * products + 192 * 96 * 24)
    assert transferring.facts["train_flops"] - DIGITS.facts["train_flops"] == 2 * of_kkt


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"num_cycles": 2, "permute_first": False, "stream": "rotating"}, "trains each mask and its weights once"),
        ({"transfer_margin": 0.1}, "transfer_margin=0.1 does not apply to neighbours=0"),
        ({"weight_training": 1.5}, r"weight_training=1.5 must lie in \[0, 1\]"),
        ({"transfer": "previous"}, "transfer='previous' does not apply to method='exssnet'"),
        ({"heads": "per-task"}, "heads='per-task' does not apply to method='exssnet'"),
        ({"context": "binary"}, "context='binary' does not apply to method='exssnet'"),
        ({"precision": "bfloat16"}, "method='exssnet' has 'tf32' alone so far"),
    ],
)
def test_what_does_not_apply_is_refused(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        replace(DIGITS, **settings)

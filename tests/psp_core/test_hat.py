"""HAT, beside a plain loop over torch's own modules that follows the paper's equations."""

from typing import Any, ClassVar

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from psp_core import Trial, TrialConfig, load_dataset
from psp_core.methods.hat import _build
from psp_core.training import PackTraining, train
from psp_core.trial import replace
from psp_core.visits import batch_order
from tests.conftest import tasks_of
from tests.methods import MethodContract

CPU = torch.device("cpu")
HAT = TrialConfig(
    dataset="digits", method={"name": "hat", "stability": 50.0}, width=12, num_tasks=3, steps_per_task=25,
    batch_size=16, optimiser="sgd", lr=0.05,
)  # fmt: skip
HEADS: dict[str, Any] = {"heads": "per-task"}


class TestHAT(MethodContract):
    settings: ClassVar[dict[str, Any]] = {"method": "hat", "optimiser": "sgd", "lr": 0.2, "width": 48}
    others: ClassVar[dict[str, Any]] = {"method": {"name": "hat", "stability": 100.0}}


class TestHATWithHeads(TestHAT):
    settings: ClassVar[dict[str, Any]] = {**TestHAT.settings, "heads": "per-task"}
    others: ClassVar[dict[str, Any]] = {"method": {"name": "hat", "compressibility": 0.1}}


class Published(nn.Module):
    """The paper's network: gated hidden layers, an embedding of each task, a head for each task or one for all."""

    def __init__(self, config: Trial) -> None:
        super().__init__()
        drawn = _build(config, CPU)
        self.linear, self.embedding, self.heads = nn.ModuleList(), nn.ModuleList(), nn.ModuleList()
        for index, layer in enumerate(drawn.layers):
            if index:
                self.embedding.append(nn.Embedding.from_pretrained(layer.contexts.clone(), freeze=False))
            weights = layer.weight if layer.weight.dim() == 3 else layer.weight[None]
            biases = layer.bias if layer.weight.dim() == 3 else layer.bias[None]
            made = [nn.utils.skip_init(nn.Linear, *weight.shape) for weight in weights]
            for linear, weight, bias in zip(made, weights, biases, strict=True):
                linear.weight.data, linear.bias.data = weight.detach().T.clone(), bias.detach().clone()
            (self.heads if index == config.depth else self.linear).extend(made)

    def gates(self, task: int, s: float) -> list[Tensor]:
        return [torch.sigmoid(s * embedding.weight[task]) for embedding in self.embedding]

    def forward(self, x: Tensor, task: int, s: float) -> Tensor:
        for linear, gate in zip(self.linear, self.gates(task, s), strict=True):
            x = linear(x).relu() * gate
        head: nn.Module = self.heads[task if len(self.heads) > 1 else 0]
        return head(x)


def published(config: Trial) -> tuple[Tensor, Published, list[list[Tensor]]]:
    """R, the network, and A after each task, by the equations: SGD on scaled gradients."""
    data, stream, net = load_dataset("digits"), tasks_of(config), Published(config)
    largest, c, last = config.stability, config.compressibility, config.steps_per_task - 1
    used: list[list[Tensor]] = [[torch.zeros(config.width, dtype=torch.float64) for _ in net.linear]]
    R = torch.full((config.num_tasks, config.num_tasks), float("nan"), dtype=torch.float64)
    for task in range(config.num_tasks):
        for step, samples in enumerate(batch_order(config, len(data.train_labels), task)):
            s = 1 / largest + (largest - 1 / largest) * step / last
            x, labels = data.train_images[samples][:, stream.describe(task)], data.train_labels[samples]
            gates = net.gates(task, s)
            cost = sum((gate * (1 - a)).sum() for gate, a in zip(gates, used[-1], strict=True))
            cost = cost / sum((1 - a).sum() for a in used[-1])
            net.zero_grad()
            (F.cross_entropy(net(data.normalise(x), task, s), labels) + c * cost).backward()
            restrict(net, used[-1], first=task == 0)
            with torch.no_grad():
                for embedding in net.embedding:
                    e = embedding.weight
                    assert e.grad is not None
                    e.grad *= largest * ((s * e).clamp(-50, 50).cosh() + 1) / (s * (e.cosh() + 1))
                for parameter in net.parameters():
                    if parameter.grad is not None:
                        parameter -= config.lr * parameter.grad
                for embedding in net.embedding:
                    embedding.weight[task].clamp_(-6, 6)
        gates = [gate.detach() for gate in net.gates(task, largest)]
        used.append([torch.maximum(a, gate) for a, gate in zip(used[-1], gates, strict=True)])
        for j in range(task + 1):
            found = net(data.normalise(data.test_images[:, stream.describe(j)]), j, largest).argmax(dim=1)
            R[task, j] = (found == data.test_labels).double().mean()
    return R, net, used


def restrict(net: Published, used: list[Tensor], *, first: bool) -> None:
    """Eq. 2: a weight's gradient times 1 - min(a_l, a_(l-1)); inputs and outputs of a shared head have a = 1."""
    before = [None, *used]
    layers = [*net.linear, *(net.heads if len(net.heads) == 1 else [])]
    for index, linear in enumerate(layers):
        after = used[index] if index < len(used) else torch.full_like(linear.bias, 0.0 if first else 1.0)
        both = after[:, None] if before[index] is None else torch.minimum(after[:, None], before[index])
        linear.weight.grad *= 1 - both
        linear.bias.grad *= 1 - after


@pytest.mark.usefixtures("float64")
@pytest.mark.parametrize("heads", [{}, HEADS], ids=["one head", "heads"])
def test_it_is_what_the_paper_s_equations_give(heads: dict[str, Any]) -> None:
    config = replace(HAT, **heads)
    R, net, used = published(config)
    training = PackTraining([config], load_dataset("digits"), CPU)
    while not training.done:
        training.train_task()
    torch.testing.assert_close(training.results()[0].accuracy, R, equal_nan=True)
    learner = training.learner
    for index, linear in enumerate(net.linear):
        weight = learner.networks.parameters[f"layers.{index}.weight"][0]  # type: ignore[attr-defined]
        torch.testing.assert_close(weight, linear.weight.detach().T)
        attention = learner._attention[f"layers.{index + 1}.contexts"][0]  # type: ignore[attr-defined]
        torch.testing.assert_close(attention, used[-1][index])
        assert 0.1 < attention.mean() < 1
    bias = learner.networks.parameters["layers.1.bias"][0]  # type: ignore[attr-defined]
    torch.testing.assert_close(bias, net.linear[1].bias.detach())


@pytest.mark.parametrize(
    "optimiser",
    [
        {"optimiser": "sgd", "lr": 0.05, "momentum": 0.9, "weight_decay": 0.01},
        {"optimiser": "adam", "lr": 0.01, "weight_decay": 0.01},
        {"optimiser": "rmsprop", "lr": 0.003, "momentum": 0.9},
    ],
    ids=lambda settings: settings["optimiser"],
)
def test_weights_between_units_in_use_do_not_move_whatever_the_optimiser(optimiser: dict[str, Any]) -> None:
    training = PackTraining([replace(HAT, **optimiser)], load_dataset("digits"), CPU)
    training.train_task()
    learner = training.learner
    for name in learner._gates:  # type: ignore[attr-defined]
        learner._attention[name].copy_(torch.arange(12) % 2)  # type: ignore[attr-defined]
    learner._count_attention()  # type: ignore[attr-defined]
    before = {name: p.clone() for name, p in learner.networks.parameters.items()}  # type: ignore[attr-defined]
    first, second = (learner._attention[f"layers.{layer}.contexts"][0] == 1 for layer in (1, 2))  # type: ignore[attr-defined]
    training.train_task()
    now = learner.networks.parameters  # type: ignore[attr-defined]
    moved = {name: (now[name] != before[name])[0] for name in before}
    assert not moved["layers.0.weight"][:, first].any()
    assert not moved["layers.0.bias"][first].any()
    assert not moved["layers.1.weight"][first][:, second].any()
    assert not moved["layers.2.weight"][second].any()
    assert not moved["layers.2.bias"].any()
    assert moved["layers.0.bias"][~first].any()
    assert moved["layers.2.weight"][~second].any()


def test_the_first_task_is_forgotten_less_than_by_a_plain_network() -> None:
    size: dict[str, Any] = {"width": 64, "steps_per_task": 150, "batch_size": 32, "lr": 0.1, "num_tasks": 4}
    plain = TrialConfig(dataset="digits", context="none", optimiser="sgd", **size)
    kept, forgotten = (train([trial], progress=False)[0].accuracy for trial in (replace(HAT, **size), plain))
    assert kept[-1, 0] > forgotten[-1, 0] + 0.1


def test_a_task_costs_a_number_for_each_unit_and_its_head() -> None:
    for settings, numbers in (({}, 24), (HEADS, 24 + 12 * 10 + 10)):
        (result,) = train([replace(HAT, **settings, num_tasks=1, steps_per_task=1)], progress=False)
        assert result.context_bytes_per_task == 4 * numbers


def test_units_cost_more_the_larger_c() -> None:
    trials = [replace(HAT, compressibility=c, steps_per_task=100, num_tasks=1) for c in (0.0, 20.0)]
    training = PackTraining(trials, load_dataset("digits"), CPU)
    training.train_task()
    free, costly = training.learner.attention_EC.sum(dim=1).tolist()  # type: ignore[attr-defined]
    assert costly < free


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"depth": 0, "width": 256}, "depth=0: method='hat' has gates for the hidden units"),
        ({"model": "small-conv"}, "model='small-conv', depth=2: method='hat' has gates"),
        ({"num_cycles": 2}, "num_cycles=2 does not apply to method='hat'"),
        ({"stability": 1}, "stability=1.0 must lie between 1 and 10000"),
        ({"context": "binary"}, "context='binary' does not apply to method='hat'"),
    ],
)
def test_it_is_refused_where_it_has_no_meaning(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        TrialConfig(**{**HAT.chosen, **settings})

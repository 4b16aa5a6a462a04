"""Context-dependent gating."""

from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from psp_core import Trial, TrialConfig, load_dataset
from psp_core.contexts import XdG
from psp_core.training import PackTraining, train
from psp_core.trial import replace
from tests.contracts import ContextContract, Moments, rng

CPU = torch.device("cpu")
TINY: dict[str, Any] = {
    "dataset": "digits", "context": {"name": "xdg", "gated": 0.5}, "width": 12, "num_tasks": 3, "steps_per_task": 5,
    "batch_size": 16, "lr": 0.01,
}  # fmt: skip
HEADS: dict[str, Any] = {"stream": "split", "classes_per_task": 3, "heads": "per-task"}


class TestXdG(ContextContract):
    context = XdG(gated=0.75)

    def moments(self, w: Tensor, x: Tensor) -> Moments:
        """Of a layer of units; a product of two gates is open with p = (1 - gated)^2."""
        p, products = (1 - self.context.gated) ** 2, w * x
        mean = p * products.sum()
        return mean, mean.square() + p * (1 - p) * products.square().sum()


def training(**settings: Any) -> PackTraining:
    return PackTraining([TrialConfig(**{**TINY, **settings})], load_dataset("digits"), CPU)


def test_as_many_units_are_gated_as_it_says() -> None:
    gates = XdG().sample(20, 2000, rng())
    assert ((gates == 0) | (gates == 1)).all()
    assert gates.mean().item() == pytest.approx(0.2, abs=0.01)


@pytest.mark.parametrize("heads", [{}, HEADS], ids=["one head", "heads"])
def test_a_hidden_unit_is_multiplied_by_its_gate_and_no_input_is(heads: dict[str, Any]) -> None:
    """The published network, written down: h = gate * relu(W x + b) of each hidden layer, and a plain last one."""
    one = training(**heads)
    one.train_task()
    networks, task, x = one.learner.networks, 1, torch.randn(4, 64, generator=rng())  # type: ignore[attr-defined]
    weights, tables = {n: p[0] for n, p in networks.parameters.items()}, networks.all_contexts[0]
    gates = [tables[f"layers.{layer}.contexts"][task] for layer in (1, 2)]
    assert all(0 < gate.sum() < 12 for gate in gates)
    h = x
    for layer, gate in enumerate(gates):
        h = gate * (h @ weights[f"layers.{layer}.weight"] + weights[f"layers.{layer}.bias"]).relu()
    last = {name: (tables if heads else weights)[f"layers.2.{name}"] for name in ("weight", "bias")}
    of_task = {name: table[task] for name, table in last.items()} if heads else last
    torch.testing.assert_close(networks.logits_of(0, task, x), h @ of_task["weight"] + of_task["bias"])


@pytest.mark.parametrize("settings", [{}, HEADS, {"protect": "si"}], ids=["one head", "heads", "si"])
def test_a_task_leaves_all_weights_of_its_closed_units_alone(settings: dict[str, Any]) -> None:
    one = training(**settings)
    networks = one.learner.networks  # type: ignore[attr-defined]
    before = {name: p[0].clone() for name, p in networks.parameters.items()}
    one.train_task()
    first, second = (networks.all_contexts[0][f"layers.{layer}.contexts"][0] == 0 for layer in (1, 2))
    now = {name: p[0] for name, p in networks.parameters.items()}
    assert torch.equal(now["layers.0.weight"][:, first], before["layers.0.weight"][:, first])
    assert torch.equal(now["layers.0.bias"][first], before["layers.0.bias"][first])
    assert torch.equal(now["layers.1.weight"][first], before["layers.1.weight"][first])
    assert torch.equal(now["layers.1.weight"][:, second], before["layers.1.weight"][:, second])
    assert not torch.equal(now["layers.0.weight"], before["layers.0.weight"])


def test_gradients_are_autograds_of_the_published_network() -> None:
    one = training()
    networks = one.learner.networks  # type: ignore[attr-defined]
    x, labels = torch.randn(1, 16, 64, generator=rng()), torch.randint(10, (1, 16), generator=rng(1))
    networks.begin(2)
    loss = networks.gradients(x, labels)
    weights = [nn.Parameter(p[0].clone()) for p in networks.parameters.values()]
    gates = [networks.all_contexts[0][f"layers.{layer}.contexts"][2] for layer in (1, 2)]
    (w1, b1), (w2, b2), (w3, b3) = zip(weights[::2], weights[1::2], strict=True)
    h = gates[1] * (gates[0] * (x[0] @ w1 + b1).relu() @ w2 + b2).relu()
    expected = F.cross_entropy(h @ w3 + b3, labels[0])
    expected.backward()
    torch.testing.assert_close(loss[0], expected.detach())
    for found, parameter in zip(networks.parameter_gradients.values(), weights, strict=True):
        torch.testing.assert_close(found[0], parameter.grad)


@pytest.mark.parametrize(("settings", "bytes_per_task"), [({}, 4), (HEADS, 4 + 4 * (12 * 3 + 3)), ({"depth": 1}, 2)])
def test_a_task_costs_a_bit_for_each_hidden_unit(settings: dict[str, Any], bytes_per_task: int) -> None:
    """Of two layers of 12 units; heads count besides."""
    one = training(**settings)
    assert one.learner.storage[0].bytes_per_task == bytes_per_task


@pytest.mark.parametrize("heads", [{}, HEADS], ids=["one head", "heads"])
def test_gated_members_train_beside_others_as_they_do_alone(heads: dict[str, Any]) -> None:
    trials = [
        TrialConfig(**{**TINY, **heads, "context": context})
        for context in ("none", "binary", {"name": "xdg", "gated": 0.5}, {"name": "xdg", "gated": 0.8})
    ]
    assert len({trial.shape for trial in trials}) == 1
    for trial, packed in zip(trials, train(trials, progress=False), strict=True):
        (alone,) = train([trial], progress=False)
        torch.testing.assert_close(packed.loss, alone.loss, equal_nan=True, rtol=1e-4, atol=1e-5)
        assert packed.context_bytes_per_task == alone.context_bytes_per_task


def test_a_convolution_s_channels_are_gated() -> None:
    settings = {"model": "small-conv", "width": 4, "channel_contexts": True, "gated": 0.5}
    one = training(**{**settings, "context": "xdg"})
    tables = one.learner.networks.all_contexts[0]  # type: ignore[attr-defined]
    sizes = [len(table[0]) for name, table in tables.items() if name.endswith("contexts")]
    assert sizes == [1, 4, 8]
    assert one.learner.storage[0].bytes_per_task == 2
    one.train_task()


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"model": "small-conv", "width": 4}, "context='xdg' is of hidden units, which are channels"),
        ({"depth": 0, "width": 256}, "context='xdg' does not apply: at depth=0"),
        ({"schedule": "blend"}, "schedule='blend', output_contexts=False do not apply to context='xdg'"),
        ({"output_contexts": True}, "output_contexts=True do not apply to context='xdg'"),
        (
            {"task_inference": "entropy-one-shot", "inference_layers": "first"},
            "inference_layers='first': context='xdg'",
        ),
        ({"gated": 1.0}, "gated=1.0 must lie between 0 and 1, such as 0.8"),
    ],
)
def test_it_is_refused_where_it_has_no_meaning(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        TrialConfig(**{**TINY, "context": "xdg", **settings})


def test_labels_say_the_share() -> None:
    trial: Trial = TrialConfig(context="xdg", protect="si")
    assert "".join(trial.curve_of.values()) == "xdg 0.8, si 0.1"
    assert "".join(replace(trial, gated=0.5, protect="none").curve_of.values()) == "xdg 0.5"

import pytest
import torch
from torch import nn

from psp_core import TrialConfig
from psp_core.contexts import CONTEXTS, get_context
from psp_core.models import SuperposedMLP, mlp
from psp_core.networks import Networks
from tests.contracts import rng

CPU = torch.device("cpu")


def models(context: str, num_members: int = 3, depth: int = 2) -> list[SuperposedMLP]:
    members = [
        mlp(8, depth, get_context(context), in_features=6, out_features=4, num_tasks=3, seed=seed)
        for seed in range(num_members)
    ]
    for seed, member in enumerate(members):
        for layer in member.layers:
            nn.init.normal_(layer.bias, generator=rng(seed))
    return members


def batch(num_members: int = 3) -> tuple[torch.Tensor, torch.Tensor]:
    x = torch.randn(num_members, 10, 6, generator=rng())
    return x, torch.randint(4, (num_members, 10), generator=rng())


@pytest.mark.parametrize("depth", [0, 1, 3])
@pytest.mark.parametrize("context", CONTEXTS)
@pytest.mark.parametrize("num_members", [1, 3])
def test_members_have_the_gradients_they_have_alone(context: str, num_members: int, depth: int) -> None:
    """By hand against autograd; the biases are not zero, so that forgetting one would show."""
    x, labels = batch(num_members)
    pack = Networks(models(context, num_members, depth), CPU)
    pack.begin(1)
    loss = pack.gradients(x, labels)
    for e, model in enumerate(models(context, num_members, depth)):
        alone = nn.functional.cross_entropy(model(x[e], task=1), labels[e])
        alone.backward()
        torch.testing.assert_close(loss[e], alone.detach())
        for name, parameter in model.named_parameters():
            torch.testing.assert_close(pack.parameter_gradients[name][e], parameter.grad)


class Unknown(nn.Module):
    """A network of which a pack knows nothing."""

    def __init__(self, model: SuperposedMLP) -> None:
        super().__init__()
        self.inside = model

    def forward(self, x: torch.Tensor, task: int) -> torch.Tensor:
        return self.inside(x, task)


@pytest.mark.parametrize("context", CONTEXTS)
@pytest.mark.parametrize("num_members", [1, 3])
def test_any_module_can_be_packed(context: str, num_members: int) -> None:
    x, labels = batch(num_members)
    known = Networks(models(context, num_members), CPU)
    unknown = Networks([Unknown(model) for model in models(context, num_members)], CPU)
    losses = []
    for pack in (known, unknown):
        pack.begin(2)
        losses.append(pack.gradients(x, labels))
    torch.testing.assert_close(*losses)
    torch.testing.assert_close(known.flat_gradients, unknown.flat_gradients)


@pytest.mark.parametrize("context", [name for name, context in CONTEXTS.items() if context.is_learnable])
@pytest.mark.parametrize("num_members", [1, 3])
def test_learned_contexts_have_the_gradients_they_have_alone(context: str, num_members: int) -> None:
    x, labels = batch(num_members)
    names = [name for name, _ in models(context, 1)[0].named_buffers()]
    pack = Networks(models(context, num_members), CPU, learned=names)
    pack.begin(1)
    pack.gradients(x, labels)
    for e, model in enumerate(models(context, num_members)):
        for buffer in model.buffers():
            buffer.requires_grad_()
        nn.functional.cross_entropy(model(x[e], task=1), labels[e]).backward()
        for name, parameter in model.named_parameters():
            torch.testing.assert_close(pack.parameter_gradients[name][e], parameter.grad)
        for name, buffer in model.named_buffers():
            torch.testing.assert_close(pack.learned_gradients[name][e], buffer.grad[1])
            assert buffer.grad[[0, 2]].count_nonzero() == 0


@pytest.mark.parametrize("depth", [0, 2])
@pytest.mark.parametrize("context", CONTEXTS)
def test_retrieved_networks_are_the_members_at_their_tasks(context: str, depth: int) -> None:
    x, _ = batch()
    pack = Networks(models(context, depth=depth), CPU)
    logits_MOB = pack.logits(pack.retrieve([2, 0]), x.repeat_interleave(2, dim=0))
    expected = [model(x[e], task).detach() for e, model in enumerate(models(context, depth=depth)) for task in (2, 0)]
    torch.testing.assert_close(logits_MOB.mT, torch.stack(expected))


@pytest.mark.parametrize("context", CONTEXTS)
def test_bfloat16_products_have_the_same_gradients_to_three_digits(context: str) -> None:
    """bfloat16 keeps 8 bits of a number: a relative error of 2^-8 for each product's operands."""
    x, labels = batch()
    packs = [Networks(models(context), CPU, dtype=dtype) for dtype in (torch.float32, torch.bfloat16)]
    for pack in packs:
        pack.begin(0)
        pack.gradients(x, labels)
    exact, rounded = (pack.flat_gradients for pack in packs)
    error = (rounded - exact).norm() / exact.norm()
    assert 0 < error < 0.02


def test_members_of_one_module_share_its_contexts_but_not_its_weights() -> None:
    (model,) = models("binary", 1)
    pack = Networks([model, model], CPU)
    first, second = pack.all_contexts
    assert first["layers.0.contexts"] is second["layers.0.contexts"]
    pack.parameters["layers.0.weight"][0] = 0
    assert pack.parameters["layers.0.weight"][1].count_nonzero() > 0


def test_a_member_that_is_not_finite_does_not_reach_its_neighbours() -> None:
    x, labels = batch()
    pack, healthy = Networks(models("binary"), CPU), Networks(models("binary"), CPU)
    pack.parameters["layers.0.weight"][1] = float("nan")
    for one in (pack, healthy):
        one.begin(0)
        one.gradients(x, labels)
    assert torch.equal(pack.flat_gradients[[0, 2]], healthy.flat_gradients[[0, 2]])


def test_a_learner_says_which_members_are_finite() -> None:
    configs = [
        TrialConfig(dataset="digits", width=4, num_tasks=2, learned_contexts=True, seed=seed) for seed in range(3)
    ]
    learner = configs[0].method.start(configs, CPU)
    assert learner.finite().tolist() == [True, True, True]
    for member, group in zip((2, 0), learner.groups, strict=True):
        group.values_EP[member, 3] = float("nan")
    assert learner.finite().tolist() == [False, True, False]


@pytest.mark.usefixtures("float64")
@pytest.mark.parametrize("rows", [[0, 1, 2], [0, 2], [2], [1, 0]])
@pytest.mark.parametrize("context", CONTEXTS)
def test_members_that_share_contexts_are_retrieved_as_one_and_as_each_alone(
    context: str, rows: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    """As on a GPU; members 0, 2 and 3 are one module, whose weights training then makes their own."""
    shared, other = models(context, num_members=2)
    pack = Networks([shared, other, shared, shared], CPU)
    pack.flat.copy_(torch.randn(pack.flat.shape, generator=rng()))
    alone = pack.retrieve(rows)
    del pack.__dict__["_sharing"]
    monkeypatch.setattr(pack, "device_type", "cuda")
    together = pack.retrieve(rows)
    assert [len(members) for _, members in pack._sharing] == [3, 1]
    for mine, theirs in zip(alone, together, strict=True):
        torch.testing.assert_close(mine, theirs)


def test_where_there_are_kernels_weights_are_rounded_when_they_are_retrieved(monkeypatch: pytest.MonkeyPatch) -> None:
    """Once, and not in the product with each chunk of images."""
    pack = Networks(models("complex"), CPU, dtype=torch.bfloat16)
    exact = pack.retrieve([0, 2])
    monkeypatch.setattr("psp_core.networks.has_kernels", lambda device: True)
    for (weight, bias), (rounded, same) in zip(exact, pack.retrieve([0, 2]), strict=True):
        assert torch.equal(weight.to(torch.bfloat16), rounded)
        assert torch.equal(bias, same)

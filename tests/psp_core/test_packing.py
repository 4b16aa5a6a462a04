import pytest
import torch
from torch import nn

from psp_core.contexts import CONTEXTS
from psp_core.models import SuperposedMLP, mlp
from psp_core.packing import Pack
from tests.contracts import rng

CPU = torch.device("cpu")


def models(context: str, num_members: int = 3) -> list[SuperposedMLP]:
    return [
        mlp(8, 2, CONTEXTS[context], in_features=6, out_features=4, num_tasks=3, seed=seed)
        for seed in range(num_members)
    ]


def batch(num_members: int = 3) -> tuple[torch.Tensor, torch.Tensor]:
    x = torch.randn(num_members, 10, 6, generator=rng())
    return x, torch.randint(4, (num_members, 10), generator=rng())


@pytest.mark.parametrize("context", CONTEXTS)
@pytest.mark.parametrize("num_members", [1, 3])
def test_members_have_the_gradients_they_have_alone(context: str, num_members: int) -> None:
    x, labels = batch(num_members)
    gradients, _, loss = Pack(models(context, num_members), CPU).gradients(x, labels, 1)
    for e, model in enumerate(models(context, num_members)):
        alone = nn.functional.cross_entropy(model(x[e], task=1), labels[e])
        alone.backward()
        torch.testing.assert_close(loss[e], alone.detach())
        for name, parameter in model.named_parameters():
            torch.testing.assert_close(gradients[name][e], parameter.grad)


@pytest.mark.parametrize("context", ["binary", "complex", "rotation"])
@pytest.mark.parametrize("num_members", [1, 3])
def test_learned_contexts_have_the_gradients_they_have_alone(context: str, num_members: int) -> None:
    x, labels = batch(num_members)
    pack = Pack(models(context, num_members), CPU, learned_contexts=True)
    gradients, of_contexts, _ = pack.gradients(x, labels, 1)
    for e, model in enumerate(models(context, num_members)):
        for buffer in model.buffers():
            buffer.requires_grad_()
        nn.functional.cross_entropy(model(x[e], task=1), labels[e]).backward()
        for name, parameter in model.named_parameters():
            torch.testing.assert_close(gradients[name][e], parameter.grad)
        for name, buffer in model.named_buffers():
            torch.testing.assert_close(of_contexts[name][e, 0], buffer.grad[1])
            assert buffer.grad[[0, 2]].count_nonzero() == 0


@pytest.mark.parametrize("context", CONTEXTS)
def test_members_have_the_logits_they_have_alone(context: str) -> None:
    x, _ = batch()
    logits = Pack(models(context), CPU).logits(x, 2)
    for e, model in enumerate(models(context)):
        torch.testing.assert_close(logits[e], model(x[e], task=2).detach())


def test_a_member_that_is_not_finite_does_not_reach_its_neighbours() -> None:
    x, labels = batch()
    pack, healthy = Pack(models("binary"), CPU), Pack(models("binary"), CPU)
    pack.parameters["layers.0.weight"][1] = float("nan")
    gradients, _, _ = pack.gradients(x, labels, 0)
    expected, _, _ = healthy.gradients(x, labels, 0)
    assert pack.finite().tolist() == [True, False, True]
    for name in gradients:
        assert torch.equal(gradients[name][[0, 2]], expected[name][[0, 2]])

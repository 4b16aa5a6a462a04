import math

import pytest
import torch
from torch import Tensor

from psp_core.supermasks import OBJECTIVES, MaskTable, Superposition, entropy, superfluous
from psp_core.supermasks import superposition as module
from tests.contracts import rng

SHAPES = [(9, 8), (8, 6), (6, 5)]
NUM_TASKS, NUM_REAL = 7, 3


def masks() -> list[list[Tensor]]:
    of_layers = [torch.randint(2, (NUM_TASKS, *shape), generator=rng(i)).float() for i, shape in enumerate(SHAPES)]
    return [list(of_task) for of_task in zip(*of_layers, strict=True)]


def make(objective: str = "entropy") -> Superposition:
    table = MaskTable(SHAPES, NUM_TASKS)
    for of_task in masks():
        table.append(of_task)
    weights = [torch.randn(shape, generator=rng(10 + i)) for i, shape in enumerate(SHAPES)]
    return Superposition(weights, table, OBJECTIVES[objective], NUM_REAL)


def images(*leading: int) -> Tensor:
    return torch.randn(*leading, 4, 9, generator=rng(20))


def dense_logits(superposition: Superposition, x: Tensor, alpha: Tensor) -> Tensor:
    """The definition, one question: f(x, W * sum_i alpha_i M^i)."""
    for layer, weight in enumerate(superposition.weights):
        x = x @ (weight * sum(a * of_task[layer] for a, of_task in zip(alpha, masks(), strict=True)))
        x = x.relu() if layer < 2 else x
    return x


def dense_gradient(superposition: Superposition, x: Tensor, alpha: Tensor) -> Tensor:
    alpha = alpha.clone().requires_grad_()
    value = superposition.objective(dense_logits(superposition, x, alpha), NUM_REAL)
    return torch.autograd.grad(value, alpha)[0]


@pytest.mark.parametrize("objective", OBJECTIVES)
def test_the_gradient_is_autograd_s_through_the_dense_sum(objective: str) -> None:
    superposition, alpha = make(objective), torch.rand(NUM_TASKS, generator=rng())
    expected = dense_gradient(superposition, images(), alpha)
    assert expected.abs().min() > 1e-6
    torch.testing.assert_close(superposition.gradient(images(), alpha), expected)


@pytest.mark.parametrize("questions_at_once", [1, 2, 100])
def test_many_questions_are_each_answered_as_alone(questions_at_once: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(module.CHUNK_BYTES, "cpu", questions_at_once * 4 * sum(i * o for i, o in SHAPES))
    superposition, x = make(), images(2, 3)
    alpha, uniform = torch.rand(2, 3, NUM_TASKS, generator=rng()), torch.full((NUM_TASKS,), 1 / NUM_TASKS)
    gradients, at_uniform = superposition.gradient(x, alpha), superposition.gradient(x)
    at_shared = superposition.gradient(x, alpha[0, 0])
    for place in ((0, 0), (0, 2), (1, 1)):
        torch.testing.assert_close(gradients[place], dense_gradient(superposition, x[place], alpha[place]))
        torch.testing.assert_close(at_uniform[place], dense_gradient(superposition, x[place], uniform))
        torch.testing.assert_close(at_shared[place], dense_gradient(superposition, x[place], alpha[0, 0]))


def test_tasks_that_are_not_named_have_no_part() -> None:
    superposition, tasks = make(), torch.tensor([5, 1, 2])
    alpha, of_tasks = torch.zeros(NUM_TASKS), torch.tensor([0.2, 0.5, 0.3])
    alpha[tasks] = of_tasks
    expected = dense_gradient(superposition, images(), alpha)[tasks]
    torch.testing.assert_close(superposition.gradient(images(), of_tasks, tasks), expected)


def test_the_logits_are_the_dense_sum_s() -> None:
    superposition, alpha = make(), torch.rand(NUM_TASKS, generator=rng())
    torch.testing.assert_close(superposition.logits(images(), alpha), dense_logits(superposition, images(), alpha))


def test_one_mask_alone_is_its_task_s_network() -> None:
    superposition, (last,) = make(), torch.eye(NUM_TASKS)[-1:]
    x = images()
    for layer, (weight, mask) in enumerate(zip(superposition.weights, masks()[-1], strict=True)):
        x = x @ (weight * mask)
        x = x.relu() if layer < 2 else x
    torch.testing.assert_close(superposition.logits(images(), last), x)


def test_a_longer_alpha_only_lengthens_the_logits() -> None:
    """Logits are homogeneous of degree 3 in alpha, so by Euler alpha . dF/dalpha = 3 <logits, dF/dlogits>."""
    superposition, alpha = make(), torch.rand(NUM_TASKS, generator=rng())
    logits = superposition.logits(images(), alpha).requires_grad_()
    (of_logits,) = torch.autograd.grad(entropy(logits, NUM_REAL), logits)
    left = alpha @ superposition.gradient(images(), alpha)
    torch.testing.assert_close(left, 3 * (logits * of_logits).sum().detach())


def test_shapes_must_agree() -> None:
    superposition = make()
    with pytest.raises(ValueError, match="must be the same layers'"):
        Superposition(superposition.weights[:2], superposition.table, entropy, NUM_REAL)


def test_entropy_of_equal_logits_is_the_logarithm_of_their_number() -> None:
    assert entropy(torch.zeros(2, 4, 20), 10).tolist() == pytest.approx([math.log(20)] * 2)
    assert entropy(torch.tensor([[1000.0, 0, 0]]), 3).item() == 0


def test_superfluous_is_logsumexp_with_a_softmax_gradient_at_superfluous_outputs_only() -> None:
    logits = torch.randn(4, 8, generator=rng()).requires_grad_()
    value = superfluous(logits, 3)
    assert value.item() == pytest.approx(logits.exp().sum(-1).log().mean().item())
    (gradient,) = torch.autograd.grad(value, logits)
    assert not gradient[:, :3].any()
    torch.testing.assert_close(gradient[:, 3:], logits.softmax(-1)[:, 3:] / 4)


def test_without_superfluous_outputs_there_is_no_such_objective() -> None:
    with pytest.raises(ValueError, match="there are 10 outputs for 10 classes"):
        superfluous(torch.zeros(2, 10), 10)

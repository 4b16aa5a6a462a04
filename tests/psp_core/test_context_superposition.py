"""A mix of contexts beside its definition, f(x; sum_i alpha_i V_i) with retrieved weights V_i, under autograd."""

import pytest
import torch
from torch import Tensor
from torch.func import functional_call

from psp_core.context_superposition import ContextSuperposition
from psp_core.contexts import CONTEXTS, get_context
from psp_core.models import MODELS, NetworkSize, SuperposedModel, TaskParts, mlp
from psp_core.supermasks import OBJECTIVES, binary, entropy, exhaustive, gradient_descent, one_shot
from tests.contracts import rng

NUM_TASKS, NUM_REAL = 5, 3
MIXABLE = [name for name, context in CONTEXTS.items() if context.is_mixable]
BY_HAND = ["binary", "complex", "rotation"]


def network(context: str) -> SuperposedModel:
    model = mlp(8, 2, get_context(context), in_features=9, out_features=6, num_tasks=NUM_TASKS, seed=3)
    for layer in model.superposed_layers():  # biases begin at zero; trained ones are not
        torch.nn.init.normal_(layer.bias, generator=rng(7))
    return model.requires_grad_(False)


def conv() -> SuperposedModel:
    size = NetworkSize(image_shape=(1, 8, 8), out_features=6)
    parts = TaskParts(context=get_context("binary"), num_tasks=NUM_TASKS, seed=3)
    return MODELS["small-conv"](width=4, depth=2).build(size, parts).requires_grad_(False)


def superposition(model: SuperposedModel, objective: str = "entropy", **options: object) -> ContextSuperposition:
    def call(contexts: dict[str, Tensor], x_BI: Tensor) -> Tensor:
        return functional_call(model, {name: c[None] for name, c in contexts.items()}, (x_BI, 0))

    def own(task: int, x_BI: Tensor) -> Tensor:
        logits_BO: Tensor = model(x_BI, task)
        return logits_BO

    return ContextSuperposition(call, own, dict(model.named_buffers()), OBJECTIVES[objective], NUM_REAL, **options)


def images(*leading: int, num_inputs: int = 9) -> Tensor:
    return torch.randn(*leading, 4, num_inputs, generator=rng(20))


def dense_logits(model: SuperposedModel, x: Tensor, alphas: list[Tensor]) -> Tensor:
    """The network of the sum of all tasks' retrieved weights, in complex numbers where they are; alpha by layer."""
    is_complex = model.context.is_complex
    x = x.to(torch.complex64) if is_complex else x
    for index, (layer, alpha) in enumerate(zip(model.superposed_layers(), alphas, strict=True)):
        retrieved = torch.stack([model.context.retrieve(layer.weight, context) for context in layer.contexts])
        weight = torch.tensordot(alpha, retrieved, 1)
        y = x @ (torch.complex(*weight.unbind(1)) if is_complex else weight) + layer.bias
        hidden = torch.complex(y.real.relu(), y.imag.relu()) if is_complex else y.relu()
        x = hidden if index < 2 else y
    return x.real if is_complex else x


def dense_gradient(
    model: SuperposedModel, x: Tensor, alpha: Tensor, objective: str = "entropy", first_only: bool = False
) -> Tensor:
    leaf = alpha.clone().requires_grad_()
    alphas = [leaf, alpha, alpha] if first_only else [leaf] * 3
    value = OBJECTIVES[objective](dense_logits(model, x, alphas), NUM_REAL)
    return torch.autograd.grad(value, leaf)[0]


@pytest.mark.parametrize("objective", OBJECTIVES)
@pytest.mark.parametrize("context", MIXABLE)
def test_the_gradient_is_autograd_s_through_the_sum_of_retrieved_weights(context: str, objective: str) -> None:
    model, alpha = network(context), torch.rand(NUM_TASKS, generator=rng())
    expected = dense_gradient(model, images(), alpha, objective)
    assert expected.abs().max() > 1e-3
    found = superposition(model, objective).gradient(images(), alpha)
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("context", BY_HAND)
def test_the_first_layer_alone_has_an_alpha_of_its_own(context: str) -> None:
    model, alpha = network(context), torch.rand(NUM_TASKS, generator=rng())
    found = superposition(model, first_layer_only=True).gradient(images(), alpha)
    expected = dense_gradient(model, images(), alpha, first_only=True)
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-4)
    assert not torch.allclose(found, superposition(model).gradient(images(), alpha), atol=1e-3)


@pytest.mark.parametrize("questions_at_once", [None, 1, 2])
@pytest.mark.parametrize("context", BY_HAND)
def test_many_questions_are_each_answered_as_alone(context: str, questions_at_once: int | None) -> None:
    model, x = network(context), images(2, 3)
    asked = superposition(model, questions_at_once=questions_at_once)
    alpha, uniform = torch.rand(2, 3, NUM_TASKS, generator=rng()), torch.full((NUM_TASKS,), 1 / NUM_TASKS)
    each, at_uniform, at_shared = asked.gradient(x, alpha), asked.gradient(x), asked.gradient(x, alpha[0, 0])
    for place in ((0, 0), (0, 2), (1, 1)):
        for found, at in ((each, alpha[place]), (at_uniform, uniform), (at_shared, alpha[0, 0])):
            torch.testing.assert_close(found[place], dense_gradient(model, x[place], at), atol=1e-5, rtol=1e-4)


def test_tasks_that_are_not_named_have_no_part() -> None:
    model, tasks, of_tasks = network("binary"), torch.tensor([4, 1, 2]), torch.tensor([0.2, 0.5, 0.3])
    alpha = torch.zeros(NUM_TASKS)
    alpha[tasks] = of_tasks
    expected = dense_gradient(model, images(), alpha)[tasks]
    torch.testing.assert_close(superposition(model).gradient(images(), of_tasks, tasks), expected)


def test_convolutions_mix_their_filters_contexts() -> None:
    """Autograd through the module itself, whose contexts are replaced by the mix, one question after another."""
    model, x = conv(), images(3, num_inputs=64)
    rows, expected = dict(model.named_buffers()), []
    for x_BI in x:
        alpha = torch.full((NUM_TASKS,), 1 / NUM_TASKS, requires_grad=True)
        mixed = {name: torch.tensordot(alpha, of_layer, 1)[None] for name, of_layer in rows.items()}
        expected.append(torch.autograd.grad(entropy(functional_call(model, mixed, (x_BI, 0)), NUM_REAL), alpha)[0])
    torch.testing.assert_close(superposition(model).gradient(x), torch.stack(expected), atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("context", BY_HAND)
def test_the_exhaustive_search_is_a_loop_over_the_tasks_networks(context: str) -> None:
    model, x = network(context), images(2, 3)
    values = torch.stack([entropy(model(x.flatten(0, 1).flatten(0, 1), k).view(2, 3, 4, 6), 3) for k in range(5)], -1)
    asked = superposition(model, questions_at_once=2)
    torch.testing.assert_close(asked.value(x, 3), values[..., 3])
    assert torch.equal(exhaustive(asked, x), values.argmin(-1))
    assert len(values.argmin(-1).unique()) > 1


def test_every_algorithm_asks_contexts_as_it_asks_masks() -> None:
    asked, x = superposition(network("binary")), images(6)
    assert torch.equal(one_shot(asked, x), asked.gradient(x).argmin(-1))
    assert torch.equal(gradient_descent(asked, x, lr=1e-3, num_steps=1), one_shot(asked, x))
    assert binary(asked, x).shape == (6,)
    assert len(asked) == NUM_TASKS

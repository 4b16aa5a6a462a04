import pytest
import torch

from psp_core.contexts import CONTEXTS, get_context
from psp_core.layers import SuperposedLinear
from tests.contracts import rng


def test_a_complex_layer_is_the_complex_product() -> None:
    layer = SuperposedLinear(6, 4, get_context("complex"), 3, seed=1)
    torch.nn.init.normal_(layer.bias, generator=rng())
    x = torch.randn(5, 2, 6, generator=rng())
    c, w = layer.contexts[2], layer.weight
    expected = (torch.complex(x[:, 0], x[:, 1]) * torch.complex(c[0], c[1])) @ torch.complex(w[:, 0], w[:, 1])
    y = layer(x, task=2)
    torch.testing.assert_close(torch.complex(y[:, 0], y[:, 1]), expected + layer.bias)


def test_a_real_layer_is_the_context_times_the_input() -> None:
    layer = SuperposedLinear(6, 4, get_context("binary"), 3, seed=1)
    x = torch.randn(5, 6, generator=rng())
    torch.testing.assert_close(layer(x, task=1), (x * layer.contexts[1]) @ layer.weight + layer.bias)


@pytest.mark.parametrize("context", ["binary", "gaussian", "mask"])
def test_output_contexts_make_a_factor_of_rank_one_of_a_tasks_contexts(context: str) -> None:
    layer = SuperposedLinear(6, 4, get_context(context), 3, seed=1, output_contexts=True)
    torch.nn.init.normal_(layer.bias, generator=rng())
    x = torch.randn(5, 6, generator=rng())
    weight = layer.weight * torch.outer(layer.contexts[2], layer.output_contexts[2])
    torch.testing.assert_close(layer(x, task=2), x @ weight + layer.bias)


def test_output_contexts_are_signs_that_depend_on_seed_index_and_task() -> None:
    def drawn(num_tasks: int = 3, **settings: int) -> torch.Tensor:
        layer = SuperposedLinear(
            8, 200, get_context("binary"), num_tasks, output_contexts=True, **{"seed": 0, **settings}
        )
        return layer.output_contexts

    assert set(drawn().unique().tolist()) == {-1, 1}
    assert abs(drawn().mean()) < 0.15
    assert torch.equal(drawn(3), drawn(7)[:3])
    for other in (drawn(seed=1), drawn(index=1), drawn()[[1, 2, 0]]):
        assert not torch.equal(drawn(), other)
    square = SuperposedLinear(200, 200, get_context("binary"), 3, seed=0, output_contexts=True)
    assert not torch.equal(square.contexts, square.output_contexts)


def test_a_layer_draws_the_same_with_output_contexts_and_without() -> None:
    without, with_them = (
        SuperposedLinear(6, 4, get_context("binary"), 3, seed=1, output_contexts=given) for given in (False, True)
    )
    assert [name for name, _ in without.named_buffers()] == ["contexts"]
    assert torch.equal(without.weight, with_them.weight)
    assert torch.equal(without.contexts, with_them.contexts)


@pytest.mark.parametrize("context", ["none", "rotation", "complex"])
def test_output_contexts_beside_what_is_no_number_for_each_input_are_refused(context: str) -> None:
    with pytest.raises(ValueError, match=f"output_contexts=true does not apply to context='{context}'"):
        SuperposedLinear(6, 4, get_context(context), 3, seed=1, output_contexts=True)


@pytest.mark.parametrize("context", CONTEXTS)
def test_initial_weights_are_xavier_normal_and_biases_zero(context: str) -> None:
    """E|w|^2 = 2 / (I + O) for every context, and the same number of biases."""
    layer = SuperposedLinear(200, 300, get_context(context), 1, seed=0)
    per_weight = layer.weight.square().sum() / (200 * 300)
    torch.testing.assert_close(per_weight, torch.tensor(2 / 500), rtol=0.02, atol=0)
    assert torch.equal(layer.bias, torch.zeros(300))


def test_layers_of_one_seed_differ_by_their_index() -> None:
    first, second = (SuperposedLinear(8, 8, get_context("binary"), 2, seed=0, index=i) for i in (0, 1))
    assert not torch.equal(first.weight, second.weight)
    assert not torch.equal(first.contexts, second.contexts)


@pytest.mark.parametrize("task", [-1, 3])
def test_a_task_without_a_context_is_refused(task: int) -> None:
    layer = SuperposedLinear(4, 4, get_context("binary"), 3, seed=0)
    with pytest.raises(IndexError, match=rf"task={task} must lie in 0\.\.2"):
        layer(torch.zeros(1, 4), task=task)

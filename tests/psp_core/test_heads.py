import pytest
import torch

from psp_core.heads import TaskHeads
from tests.contracts import rng


def heads(num_tasks: int = 3, **settings: int) -> TaskHeads:
    return TaskHeads(6, 4, num_tasks, **{"seed": 1, **settings})


def test_each_task_has_a_linear_layer_of_its_own() -> None:
    layer, x = heads(), torch.randn(5, 6, generator=rng())
    torch.nn.init.normal_(layer.bias, generator=rng(1))
    for task in range(3):
        expected = torch.nn.functional.linear(x, layer.weight[task].T, layer.bias[task])
        torch.testing.assert_close(layer(x, task), expected)
    assert not torch.allclose(layer(x, 0), layer(x, 1))


def test_heads_are_buffers_with_the_tasks_first() -> None:
    assert not list(heads().parameters())
    shapes = {name: tuple(buffer.shape) for name, buffer in heads().named_buffers()}
    assert shapes == {"weight": (3, 6, 4), "bias": (3, 4)}


def test_gradients_reach_the_head_that_was_used_and_no_other() -> None:
    layer = heads()
    for buffer in layer.buffers():
        buffer.requires_grad_()
    layer(torch.randn(5, 6, generator=rng()), 1).square().sum().backward()
    for buffer in layer.buffers():
        assert buffer.grad is not None
        assert buffer.grad[1].count_nonzero() > 0
        assert buffer.grad[[0, 2]].count_nonzero() == 0


def test_a_tasks_head_depends_on_seed_index_and_task_but_not_on_their_number() -> None:
    assert torch.equal(heads(2).weight, heads(5).weight[:2])
    for other in (heads(seed=2), heads(index=1)):
        assert not torch.equal(heads().weight, other.weight)


def test_initial_heads_are_xavier_normal_and_biases_zero() -> None:
    layer = TaskHeads(200, 300, 2, seed=0)
    for weight in layer.weight:
        torch.testing.assert_close(weight.square().mean(), torch.tensor(2 / 500), rtol=0.02, atol=0)
    assert layer.bias.count_nonzero() == 0


@pytest.mark.parametrize("task", [-1, 3])
def test_a_task_without_a_head_is_refused(task: int) -> None:
    with pytest.raises(IndexError, match=rf"task={task} must lie in 0\.\.2"):
        heads()(torch.zeros(1, 6), task=task)

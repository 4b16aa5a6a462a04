import pytest
import torch

from psp_core.contexts import CONTEXTS
from psp_core.models import SuperposedMLP, mlp
from tests.contracts import rng


def model(context: str, *, depth: int = 2, seed: int = 0) -> SuperposedMLP:
    return mlp(8, depth, CONTEXTS[context], in_features=6, out_features=3, num_tasks=4, seed=seed)


@pytest.mark.parametrize("context", CONTEXTS)
def test_gives_real_logits_that_depend_on_the_task(context: str) -> None:
    x = torch.randn(5, 6, generator=rng())
    first, second = (model(context)(x, task=task) for task in (0, 1))
    assert first.shape == (5, 3)
    assert first.is_floating_point()
    assert torch.equal(first, second) == (context == "none")


def test_the_complex_network_is_what_complex_numbers_say() -> None:
    net, x = model("complex"), torch.randn(5, 6, generator=rng())
    z = x.to(torch.complex64)
    for i, layer in enumerate(net.layers):
        c, w = torch.view_as_complex(layer.contexts[3].T.contiguous()), layer.weight
        z = (z * c) @ torch.complex(w[:, 0], w[:, 1]) + layer.bias
        if i < 2:
            z = torch.complex(z.real.relu(), z.imag.relu())
    torch.testing.assert_close(net(x, task=3), z.real)


def test_depth_zero_is_one_linear_layer() -> None:
    assert len(model("binary", depth=0).layers) == 1


def test_a_state_dict_restores_the_network() -> None:
    one, other = model("binary", seed=0), model("binary", seed=1)
    other.load_state_dict(one.state_dict())
    x = torch.randn(5, 6, generator=rng())
    assert torch.equal(one(x, task=2), other(x, task=2))


def test_bytes_follow_the_papers_table_1() -> None:
    """Numbers of the first model's contexts and of each further one: complex M and M, OnePower M and 1."""
    inputs = 6 + 8 + 8
    assert (model("complex").bytes_once(), model("complex").bytes_per_task()) == (0, 4 * inputs)
    assert (model("one-power").bytes_once(), model("one-power").bytes_per_task()) == (4 * inputs, 4 * 3)


def test_bytes_per_task_add_up_over_layers() -> None:
    assert model("rotation").bytes_per_task() == 4 * (6 * 6 + 8 * 8 + 8 * 8)

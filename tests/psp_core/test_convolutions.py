import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from psp_core.contexts import get_context
from psp_core.convolutions import SuperposedConv2d, channels_last
from tests.contracts import rng

REAL = ["none", "binary", "rotation"]


def conv(context: str, kernel_size: int = 3, stride: int = 1, **settings: int) -> SuperposedConv2d:
    return SuperposedConv2d(2, 4, kernel_size, get_context(context), 3, stride=stride, **{"seed": 1, **settings})


def images() -> Tensor:
    return torch.randn(5, 2, 8, 8, generator=rng())


@pytest.mark.parametrize(("kernel_size", "stride", "padding"), [(3, 1, 1), (3, 2, 1), (1, 2, 0), (5, 1, 2)])
def test_signs_multiply_the_kernel(kernel_size: int, stride: int, padding: int) -> None:
    layer = conv("binary", kernel_size, stride)
    kernel = torch.empty(4, 2, kernel_size, kernel_size)
    for n in range(4):
        kernel[n] = (layer.weight[:, n] * layer.contexts[2]).detach().view(2, kernel_size, kernel_size)
    torch.testing.assert_close(layer(images(), task=2), F.conv2d(images(), kernel, stride=stride, padding=padding))


def test_output_contexts_multiply_the_output_channels() -> None:
    both, alone = (conv("binary", output_contexts=given) for given in (True, False))
    expected = alone(images(), task=2) * both.output_contexts[2][:, None, None]
    torch.testing.assert_close(both(images(), task=2), expected)


@pytest.mark.parametrize(("kernel_size", "stride"), [(3, 1), (3, 2), (1, 2), (7, 2)])
def test_factors_of_batche_scale_the_channels_of_the_input_and_of_the_output(kernel_size: int, stride: int) -> None:
    layer = conv("gaussian", kernel_size, stride, output_contexts=True, channel_contexts=True)
    assert layer.contexts.shape == (3, 2)
    scaled = images() * layer.contexts[2][:, None, None]
    plain = F.conv2d(scaled, layer.weight.mT.reshape(4, *layer.filter_shape), stride=stride, padding=kernel_size // 2)
    torch.testing.assert_close(layer(images(), task=2), plain * layer.output_contexts[2][:, None, None])


def test_a_kernel_whose_channels_are_last_in_memory_is_the_same_kernel() -> None:
    kernels = torch.randn(3, 18, 4, generator=rng()).mT.reshape(3, 4, 2, 3, 3)
    for one, ordered in zip(kernels, torch.func.vmap(channels_last)(kernels), strict=True):
        assert torch.equal(ordered, one)
        assert ordered.is_contiguous(memory_format=torch.channels_last)


@pytest.mark.parametrize("context", REAL)
def test_contexts_of_channels_bind_every_pixel(context: str) -> None:
    layer = conv(context, channel_contexts=True)
    bound = layer.context.bind(images().movedim(1, -1).flatten(0, 2), layer.contexts[1])
    expected = F.conv2d(
        bound.view(5, 8, 8, 2).movedim(-1, 1), layer.weight.mT.reshape(4, *layer.filter_shape), padding=1
    )
    torch.testing.assert_close(layer(images(), task=1), expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("context", REAL)
def test_a_bound_kernel_answers_as_bound_patches_do(context: str) -> None:
    """A convolution is a linear layer on every patch, of which `bind` knows what it does."""
    layer = conv(context)
    patches_BLI = F.unfold(images(), 3, padding=1).mT
    bound = torch.stack([layer.context.bind(patches, layer.contexts[1]) for patches in patches_BLI])
    expected = (bound @ layer.weight).mT.unflatten(-1, (8, 8))
    torch.testing.assert_close(layer(images(), task=1), expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("context", REAL)
def test_one_stored_kernel_is_retrieved_exactly(context: str) -> None:
    layer, plain = conv(context), torch.randn(4, 2, 3, 3, generator=rng(1))
    with torch.no_grad():
        layer.weight.copy_(layer.context.store(plain.flatten(1).mT, layer.contexts[0]))
        torch.testing.assert_close(layer.kernel(0), plain)
        torch.testing.assert_close(layer(images(), task=0), F.conv2d(images(), plain, padding=1), rtol=1e-4, atol=1e-5)


def test_initial_kernels_are_kaiming_normal_by_fan_out() -> None:
    """Var w = 2 / (O kh kw): the outputs count, not the inputs."""
    layer = SuperposedConv2d(16, 64, 3, get_context("binary"), 1, seed=0)
    assert layer.weight.shape == (16 * 9, 64)
    torch.testing.assert_close(layer.weight.square().mean(), torch.tensor(2 / (64 * 9)), rtol=0.03, atol=0)
    assert [name for name, _ in layer.named_parameters()] == ["weight"]


def test_contexts_have_one_filters_size() -> None:
    assert conv("binary").contexts.shape == (3, 18)
    assert conv("rotation", 1).contexts.shape == (3, 2, 2)
    assert conv("none").contexts.shape == (3, 0)


def test_layers_of_one_seed_differ_by_their_index() -> None:
    first, second = conv("binary", index=0), conv("binary", index=1)
    assert not torch.equal(first.weight, second.weight)
    assert not torch.equal(first.contexts, second.contexts)
    assert torch.equal(first.weight, conv("rotation", index=0).weight)


@pytest.mark.parametrize("task", [-1, 3])
def test_a_task_without_a_context_is_refused(task: int) -> None:
    with pytest.raises(IndexError, match=rf"task={task} must lie in 0\.\.2"):
        conv("binary")(images(), task=task)


@pytest.mark.parametrize("context", ["complex", "one-power"])
def test_complex_contexts_are_refused(context: str) -> None:
    with pytest.raises(ValueError, match=rf"real numbers; context='{context}' is complex. Use 'binary'"):
        conv(context)

import pytest
import torch
from torch import Tensor, nn
from torchvision.models import resnet50

from psp_core.contexts import get_context
from psp_core.convolutions import SuperposedConv2d
from psp_core.layers import SuperposedLinear
from psp_core.models import MODELS, NetworkSize, ResNet50, TaskParts
from tests.contracts import rng


def resnet(context: str = "binary", *, width: int = 64, side: int = 64, outputs: int = 10) -> ResNet50:
    size = NetworkSize(image_shape=(3, side, side), out_features=outputs)
    net = MODELS["resnet-50"](width=width).build(size, TaskParts(context=get_context(context), num_tasks=2, seed=0))
    assert isinstance(net, ResNet50)
    return net


@torch.no_grad()
def torchvisions(net: ResNet50, task: int) -> nn.Module:
    """Torchvision's network with one task's weights; its batch norms are in training mode, with affine 1 and 0."""
    with torch.random.fork_rng(devices=[]):  # what it draws is replaced
        plain = resnet50(num_classes=10)
    kernels = [layer.kernel(task) for layer in net.superposed_layers() if isinstance(layer, SuperposedConv2d)]
    convolutions = [module for module in plain.modules() if isinstance(module, nn.Conv2d)]
    for convolution, kernel in zip(convolutions, kernels, strict=True):
        convolution.weight.copy_(kernel)
    assert isinstance(net.last, SuperposedLinear)
    plain.fc.weight.copy_(net.last.context.retrieve(net.last.weight, net.last.contexts[task]).T)
    plain.fc.bias.copy_(net.last.bias)
    return plain.train()


@pytest.mark.parametrize("side", [64, 75])
def test_is_torchvisions_with_its_tasks_weights(side: int) -> None:
    net = resnet(side=side)
    nn.init.normal_(net.last.bias, generator=rng())
    x = torch.randn(3, 3, side, side, generator=rng())

    def logits(task: int) -> Tensor:
        return torchvisions(net, task)(x)

    for task in range(2):
        torch.testing.assert_close(net(x.flatten(1), task), logits(task), rtol=1e-3, atol=1e-3)
    assert not torch.allclose(logits(0), logits(1), atol=0.1)


def test_has_torchvisions_parameters() -> None:
    """ResNet-50 is known by its 25,557,032 parameters, 53,120 of them affine ones of batch norms."""
    assert sum(parameter.numel() for parameter in resnet(outputs=1000).parameters()) == 25_557_032 - 53_120


def test_contexts_are_on_52_convolutions_and_the_linear_layer_but_not_on_the_stem() -> None:
    net = resnet()
    stem, *others = net.superposed_layers()
    assert stem is net.stem.conv
    assert stem.context.is_trivial
    assert len(others) == 52 + 1
    assert not any(layer.context.is_trivial for layer in others)
    assert net.bytes_per_task() == sum(len(layer.weight) for layer in others) // 8

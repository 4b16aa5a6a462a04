import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from psp_core import TrialConfig
from psp_core.contexts import get_context
from psp_core.convolutions import SuperposedConv2d
from psp_core.layers import SuperposedLinear
from psp_core.models import MODELS, NetworkSize, ResNet18, TaskParts
from psp_core.randomness import generator
from tests.contracts import rng


def norm(channels: int) -> nn.BatchNorm2d:
    return nn.BatchNorm2d(channels, affine=False, track_running_stats=False)


class PlainBlock(nn.Module):
    """The basic block as torchvision has it, with static batch norm."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, outputs, 3, stride, padding=1, bias=False)
        self.bn1 = norm(outputs)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, padding=1, bias=False)
        self.bn2 = norm(outputs)
        self.downsample: nn.Module = nn.Identity()
        if stride != 1 or inputs != outputs:
            self.downsample = nn.Sequential(nn.Conv2d(inputs, outputs, 1, stride, bias=False), norm(outputs))

    def forward(self, x: Tensor) -> Tensor:
        out = self.bn2(self.conv2(F.relu(self.bn1(self.conv1(x)))))
        return F.relu(out + self.downsample(x))


def plain_resnet(width: int, channels: int = 3, outputs: int = 10) -> nn.Sequential:
    w = width
    return nn.Sequential(
        nn.Sequential(nn.Conv2d(channels, w, 3, padding=1, bias=False), norm(w), nn.ReLU()),
        nn.Sequential(PlainBlock(w, w, 1), PlainBlock(w, w, 1)),
        nn.Sequential(PlainBlock(w, 2 * w, 2), PlainBlock(2 * w, 2 * w, 1)),
        nn.Sequential(PlainBlock(2 * w, 4 * w, 2), PlainBlock(4 * w, 4 * w, 1)),
        nn.Sequential(PlainBlock(4 * w, 8 * w, 2), PlainBlock(8 * w, 8 * w, 1)),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(8 * w, outputs),
    )


def resnet(width: int, context: str = "binary", image_shape: tuple[int, int, int] = (3, 16, 16)) -> ResNet18:
    size = NetworkSize(image_shape=image_shape, out_features=10)
    net = MODELS["resnet-18"](width=width).build(size, TaskParts(context=get_context(context), num_tasks=2, seed=0))
    assert isinstance(net, ResNet18)
    return net


@torch.no_grad()
def copied(net: ResNet18, width: int, channels: int, task: int) -> nn.Sequential:
    """The plain network with one task's weights; the stem's are the same for all."""
    with torch.device("meta"):
        plain = plain_resnet(width, channels)
    plain.to_empty(device="cpu")
    ours = [layer.kernel(task) for layer in net.superposed_layers() if isinstance(layer, SuperposedConv2d)]
    convolutions = [module for module in plain.modules() if isinstance(module, nn.Conv2d)]
    for convolution, kernel in zip(convolutions, ours, strict=True):
        convolution.weight.copy_(kernel)
    last, linear = net.last, plain[-1]
    assert isinstance(last, SuperposedLinear)
    linear.weight.copy_(last.context.retrieve(last.weight, last.contexts[task]).T)
    linear.bias.copy_(last.bias)
    return plain


@pytest.mark.parametrize("image_shape", [(3, 16, 16), (3, 32, 32), (1, 8, 8)])
@pytest.mark.parametrize("context", ["none", "binary"])
def test_is_the_plain_resnet_with_its_tasks_weights(context: str, image_shape: tuple[int, int, int]) -> None:
    net = resnet(4, context, image_shape)
    nn.init.normal_(net.last.bias, generator=rng())
    x = torch.randn(6, *image_shape, generator=rng())
    for task in range(2):
        expected = copied(net, 4, image_shape[0], task)(x)
        torch.testing.assert_close(net(x.flatten(1), task), expected, rtol=1e-3, atol=1e-4)


def test_has_the_parameters_of_the_plain_resnet() -> None:
    """CIFAR's ResNet-18 is known by its 11,173,962 parameters, 9,600 of them affine ones of batch norms."""
    ours = sum(parameter.numel() for parameter in resnet(64).parameters())
    with torch.device("meta"):
        assert ours == sum(parameter.numel() for parameter in plain_resnet(64).parameters())
    assert ours == 11_173_962 - 9_600


def test_contexts_are_on_19_convolutions_and_the_linear_layer_but_not_on_the_stem() -> None:
    net = resnet(64)
    sizes = [len(layer.weight) for layer in net.superposed_layers()]
    first = [64 * 9] * 4
    later = [[c * 9, 2 * c * 9, c, 2 * c * 9, 2 * c * 9] for c in (64, 128, 256)]
    assert sizes == [3 * 9, *first, *later[0], *later[1], *later[2], 512]
    assert len(sizes) == 1 + 19 + 1
    assert net.bytes_per_task() == sum(sizes[1:]) // 8 == 3_936
    assert sum(buffer.numel() for buffer in net.stem.buffers()) == 0


def test_the_stem_begins_as_a_plain_kaiming_normal_convolution() -> None:
    kernel = torch.empty(64, 3, 3, 3)
    nn.init.kaiming_normal_(kernel, mode="fan_out", generator=generator(0, "weights", 0))
    assert torch.equal(resnet(64).stem.conv.kernel(0), kernel)


def test_depth_does_not_apply() -> None:
    with pytest.raises(ValueError, match="depth=7 does not apply to model='resnet-18'; leave it out, or use 'mlp'"):
        TrialConfig(model="resnet-18", width=4, depth=7)
    with pytest.raises(ValueError, match="'depth' is not a setting of model='resnet-18'"):
        TrialConfig(model={"name": "resnet-18", "depth": 2})


def test_layers_have_weights_of_their_own() -> None:
    """Layers of equal shape differ, the two of the first blocks among them."""
    net = resnet(4)
    first = [layer for layer in net.superposed_layers() if len(layer.weight) == 36 and layer.weight.shape[1] == 4]
    assert len(first) == 4
    for i, one in enumerate(first):
        for other in first[:i]:
            assert not torch.equal(one.weight, other.weight)
            assert not torch.equal(one.contexts, other.contexts)

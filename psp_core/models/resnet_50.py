"""ResNet-50, with contexts."""

from typing import Final, NamedTuple

from torch import Tensor, nn
from torch.nn import functional as F

from psp_core.models.base import Convolutional, LayerSize, NetworkSize, TaskParts, conv_size, linear_size, width_setting
from psp_core.models.resnet import MakeConv, ResNet, numbered_conv, strided

# B batch, C channels

STAGES: Final = (3, 4, 6, 3)
"""Blocks of each stage."""

EXPANSION: Final = 4
"""A block's output channels for each of its inner ones."""


class BottleneckShape(NamedTuple):
    """Channels and stride of a bottleneck block; a stage's first one has a 1x1 convolution as its shortcut."""

    in_channels: int
    inner_channels: int
    stride: int

    @property
    def out_channels(self) -> int:
        """Four times the inner ones."""
        return EXPANSION * self.inner_channels

    @property
    def has_shortcut(self) -> bool:
        """Whether the block's input has not its output's shape."""
        return self.in_channels != self.out_channels


class Bottleneck(nn.Module):
    """relu(N(conv3(relu(N(conv2(relu(N(conv1(x)))))))) + shortcut(x)), where N is batch norm.

    conv1 and conv3 are 1x1, conv2 is 3x3 and has the stride. The shortcut is x itself or N of a 1x1 convolution.
    """

    def __init__(self, shape: BottleneckShape, conv: MakeConv) -> None:
        """Make the convolutions."""
        super().__init__()
        inner, out = shape.inner_channels, shape.out_channels
        self.conv1 = conv(shape.in_channels, inner, 1, 1)
        self.conv2 = conv(inner, inner, 3, shape.stride)
        self.conv3 = conv(inner, out, 1, 1)
        self.shortcut = conv(shape.in_channels, out, 1, shape.stride) if shape.has_shortcut else None

    def forward(self, x: Tensor, task: int) -> Tensor:
        """The block's output for a batch of task `task`, (B, C, H, W) to (B, C', H', W')."""
        h = self.conv2(self.conv1(x, task).relu(), task).relu()
        h = self.conv3(h, task)
        if self.shortcut is not None:
            x = self.shortcut(x, task)
        out: Tensor = (h + x).relu()
        return out


class ResNet50(ResNet):
    """A 7x7 stem, 3x3 pooling, stages of 3, 4, 6 and 3 bottleneck blocks, channel means, a linear layer.

    Its depth is given: `depth` does not apply.

    Stages have width, 2, 4 and 8 width inner channels (the paper: 64) and four times as many outer ones. Stem, pooling
    and all stages but the first have stride 2. Contexts are on the 48 convolutions of the blocks, on their 4 shortcuts
    and on the linear layer.

    Source: paper B's SplitImageNet (papers.md, B5); strides are torchvision's, on the 3x3 convolutions (He et al. have
    them on the 1x1 before). Batch norm has no parameters, as in paper B's code (B4).
    """

    def pooled(self, x: Tensor) -> Tensor:
        """The largest of 3x3 pixels, at every second one: (B, C, H, W) to (B, C, H', W')."""
        return F.max_pool2d(x, 3, stride=2, padding=1)


def bottleneck_shapes(width: int) -> list[BottleneckShape]:
    """The sixteen blocks."""
    shapes, channels = [], width
    for stage, number in enumerate(STAGES):
        for block in range(number):
            stride = 2 if stage and not block else 1
            shapes.append(BottleneckShape(channels, width * 2**stage, stride))
            channels = shapes[-1].out_channels
    return shapes


class ResNet50Model(Convolutional, name="resnet-50"):
    """ResNet-50."""

    width: int = width_setting()

    def build(self, size: NetworkSize, parts: TaskParts) -> ResNet50:
        """The network."""
        parts = self.normed(parts)
        conv = numbered_conv(parts)
        stem = parts.of_stem().conv(size.image_shape[0], self.width, 7, 0, stride=2)
        blocks = [Bottleneck(shape, conv) for shape in bottleneck_shapes(self.width)]
        sizes = self.layer_sizes(size)
        last = parts.output(sizes[-1].inputs, size.out_features, len(sizes) - 1)
        return ResNet50(stem, blocks, last, parts.context, size.image_shape)

    def layer_sizes(self, size: NetworkSize) -> list[LayerSize]:
        """The stem, each block's convolutions with the shortcut last, and the linear layer."""
        sides = strided(size.image_shape[1:], 2)
        sizes = [conv_size(size.image_shape[0], self.width, 7, sides, has_context=False)]
        sides = strided(sides, 2)
        shapes = bottleneck_shapes(self.width)
        for shape in shapes:
            i, inner, out = shape.in_channels, shape.inner_channels, shape.out_channels
            sizes.append(conv_size(i, inner, 1, sides))
            sides = strided(sides, shape.stride)
            sizes += [conv_size(inner, inner, 3, sides), conv_size(inner, out, 1, sides)]
            if shape.has_shortcut:
                sizes.append(conv_size(i, out, 1, sides))
        return [*sizes, linear_size(shapes[-1].out_channels, size.out_features)]

"""ResNet-18 for small images, with contexts; and what all ResNets share."""

from collections.abc import Callable, Sequence
from itertools import count
from typing import NamedTuple

from torch import Tensor, nn

from psp_core.contexts import Context
from psp_core.heads import TaskHeads
from psp_core.layers import SuperposedLinear
from psp_core.models.base import (
    Convolutional,
    LayerSize,
    NetworkSize,
    SuperposedModel,
    TaskParts,
    conv_size,
    linear_size,
    width_setting,
)
from psp_core.norms import NormedConv2d

# B batch, I inputs (pixels), O outputs, C channels

MakeConv = Callable[[int, int, int, int], NormedConv2d]  # of input and output channels, kernel size, stride


class BlockShape(NamedTuple):
    """Channels and stride of a basic block; it has a 1x1 convolution as its shortcut where it strides."""

    in_channels: int
    out_channels: int
    stride: int


class BasicBlock(nn.Module):
    """relu(N(conv2(relu(N(conv1(x))))) + shortcut(x)), where N is batch norm.

    The shortcut is x itself in blocks of stride 1, else N of a 1x1 convolution.
    """

    def __init__(self, shape: BlockShape, conv: MakeConv) -> None:
        """Make the convolutions."""
        super().__init__()
        self.conv1 = conv(shape.in_channels, shape.out_channels, 3, shape.stride)
        self.conv2 = conv(shape.out_channels, shape.out_channels, 3, 1)
        self.shortcut = conv(shape.in_channels, shape.out_channels, 1, shape.stride) if shape.stride > 1 else None

    def forward(self, x: Tensor, task: int) -> Tensor:
        """The block's output for a batch of task `task`, (B, C, H, W) to (B, C', H', W')."""
        h = self.conv2(self.conv1(x, task).relu(), task)
        if self.shortcut is not None:
            x = self.shortcut(x, task)
        out: Tensor = (h + x).relu()
        return out


class ResNet(SuperposedModel):
    """relu(N(stem(x))), pooling if any, blocks, channel means, a linear layer.

    Inputs (B, I), logits (B, O). The stem has no context: paper A's formula has one on every convolution,
    the authors' code has not, and this follows the code (papers.md, A7 and A8). With output contexts it has both, as
    every layer of paper B's BatchE has (B4).

    Batches need two images or more where the last stage has one pixel left (see `static_batch_norm`).
    """

    def __init__(
        self,
        stem: NormedConv2d,
        blocks: Sequence[nn.Module],
        last: SuperposedLinear | TaskHeads,
        context: Context,
        image_shape: tuple[int, int, int],
    ) -> None:
        """Chain the layers."""
        super().__init__(context)
        self.image_shape = image_shape
        self.stem = stem
        self.blocks = nn.ModuleList(blocks)
        self.last = last

    def forward(self, x: Tensor, task: int) -> Tensor:
        """Logits of a batch of task `task`, shapes (B, I) to (B, O)."""
        h = self.pooled(self.stem(x.reshape(-1, *self.image_shape), task).relu())
        for block in self.blocks:
            h = block(h, task)
        logits: Tensor = self.last(h.mean(dim=(-2, -1)), task)
        return logits

    def pooled(self, x: Tensor) -> Tensor:
        """What the blocks get of the stem's output."""
        return x


class ResNet18(ResNet):
    """The CIFAR ResNet-18: a 3x3 stem, four stages of two basic blocks, channel means, a linear layer.

    Its depth is given: `depth` does not apply.

    Stages have width, 2, 4 and 8 width channels (the paper: 64), and all but the first begin with stride 2.
    Contexts are on the 16 convolutions of the blocks, on their 3 shortcuts and on the linear layer.

    Source: paper A's iCIFAR experiment (papers.md, A5) and its code (A7); there the contexts of the linear layer are
    trained and its bias is unused, here both follow the rule of all models (`SuperposedLinear`).
    """


def numbered_conv(parts: TaskParts) -> MakeConv:
    """Makes convolutions that are layers 1, 2, ... of their network: the stem is layer 0."""
    indices = count(1)

    def conv(i: int, o: int, kernel_size: int, stride: int) -> NormedConv2d:
        return parts.conv(i, o, kernel_size, next(indices), stride)

    return conv


def strided(sides: Sequence[int], stride: int) -> list[int]:
    """An image's sides after a convolution or a pooling that pads."""
    return [-(-side // stride) for side in sides]


def block_shapes(width: int) -> list[BlockShape]:
    """The eight blocks: two for each stage."""
    first = [BlockShape(width, width, 1), BlockShape(width, width, 1)]
    stages = [(width * 2**stage, width * 2 ** (stage + 1)) for stage in range(3)]
    return first + [shape for i, o in stages for shape in (BlockShape(i, o, 2), BlockShape(o, o, 1))]


class ResNet18Model(Convolutional, name="resnet-18"):
    """ResNet-18 for small images."""

    width: int = width_setting()

    def build(self, size: NetworkSize, parts: TaskParts) -> ResNet18:
        """The network."""
        parts = self.normed(parts)
        conv = numbered_conv(parts)
        stem = parts.of_stem().conv(size.image_shape[0], self.width, 3, 0)
        blocks = [BasicBlock(shape, conv) for shape in block_shapes(self.width)]
        last = parts.output(8 * self.width, size.out_features, len(self.layer_sizes(size)) - 1)
        return ResNet18(stem, blocks, last, parts.context, size.image_shape)

    def layer_sizes(self, size: NetworkSize) -> list[LayerSize]:
        """The stem, each block's convolutions with the shortcut last, and the linear layer."""
        sides = list(size.image_shape[1:])
        sizes = [conv_size(size.image_shape[0], self.width, 3, sides, has_context=False)]
        for i, o, stride in block_shapes(self.width):
            sides = strided(sides, stride)
            sizes += [conv_size(i, o, 3, sides), conv_size(o, o, 3, sides)]
            if stride > 1:
                sizes.append(conv_size(i, o, 1, sides))
        return [*sizes, linear_size(8 * self.width, size.out_features)]

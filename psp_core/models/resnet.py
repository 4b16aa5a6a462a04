"""ResNet-18 for small images, with contexts."""

from collections.abc import Callable
from itertools import count
from typing import Final, NamedTuple

from torch import Tensor, nn

from psp_core.contexts import Context
from psp_core.convolutions import SuperposedConv2d, kaiming_normal, static_batch_norm
from psp_core.heads import TaskHeads
from psp_core.layers import SuperposedLinear
from psp_core.models.base import Architecture, LayerSize, NetworkSize, SuperposedModel, TaskParts, conv_size
from psp_core.randomness import generator

# B batch, I inputs (pixels), O outputs, C channels

MakeConv = Callable[[int, int, int, int], SuperposedConv2d]  # of input and output channels, kernel size, stride


class BlockShape(NamedTuple):
    """Channels and stride of a basic block; it has a 1x1 convolution as its shortcut where it strides."""

    in_channels: int
    out_channels: int
    stride: int


class BasicBlock(nn.Module):
    """relu(N(conv2(relu(N(conv1(x))))) + shortcut(x)), where N is static batch norm.

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
        h = static_batch_norm(self.conv1(x, task)).relu()
        h = static_batch_norm(self.conv2(h, task))
        if self.shortcut is not None:
            x = static_batch_norm(self.shortcut(x, task))
        return (h + x).relu()


class ResNet18(SuperposedModel):
    """The CIFAR ResNet-18: a 3x3 stem, four stages of two basic blocks, channel means, a linear layer.

    Its depth is given: `depth` does not apply.

    Inputs (B, I), logits (B, O). Stages have width, 2, 4 and 8 width channels (the paper: 64), and all
    but the first begin with stride 2. Contexts are on the 16 convolutions of the blocks, on their 3
    shortcuts and on the linear layer. The stem has none: paper A's formula has a context on every
    convolution, the authors' code has not, and this follows the code (papers.md, A7 and A8).

    Batches need two images or more where the last stage has one pixel left (see `static_batch_norm`).

    Source: paper A's iCIFAR experiment (papers.md, A5) and its code (A7); there the contexts of the linear layer are
    trained and its bias is unused, here both follow the rule of all models (`SuperposedLinear`).
    """

    def __init__(
        self,
        stem: nn.Conv2d,
        blocks: list[BasicBlock],
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
        h = static_batch_norm(self.stem(x.reshape(-1, *self.image_shape))).relu()
        for block in self.blocks:
            h = block(h, task)
        logits: Tensor = self.last(h.mean(dim=(-2, -1)), task)
        return logits


def _build(size: NetworkSize, parts: TaskParts) -> ResNet18:
    indices = count(1)  # the stem is layer 0

    def conv(i: int, o: int, kernel_size: int, stride: int) -> SuperposedConv2d:
        return parts.conv(i, o, kernel_size, next(indices), stride)

    stem = _stem(size.image_shape[0], size.width, parts.seed)
    blocks = [BasicBlock(shape, conv) for shape in block_shapes(size.width)]
    last = parts.output(8 * size.width, size.out_features, next(indices))
    return ResNet18(stem, blocks, last, parts.context, size.image_shape)


def _layer_sizes(size: NetworkSize) -> list[LayerSize]:
    """The stem, each block's convolutions with the shortcut last, and the linear layer."""
    sides = list(size.image_shape[1:])
    sizes = [conv_size(size.image_shape[0], size.width, 3, sides, has_context=False)]
    for i, o, stride in block_shapes(size.width):
        sides = [-(-side // stride) for side in sides]
        sizes += [conv_size(i, o, 3, sides), conv_size(o, o, 3, sides)]
        if stride > 1:
            sizes.append(conv_size(i, o, 1, sides))
    return [*sizes, LayerSize(8 * size.width, size.out_features, 1, has_context=True, has_bias=True)]


def block_shapes(width: int) -> list[BlockShape]:
    """The eight blocks: two for each stage."""
    first = [BlockShape(width, width, 1), BlockShape(width, width, 1)]
    stages = [(width * 2**stage, width * 2 ** (stage + 1)) for stage in range(3)]
    return first + [shape for i, o in stages for shape in (BlockShape(i, o, 2), BlockShape(o, o, 1))]


def _stem(in_channels: int, out_channels: int, seed: int) -> nn.Conv2d:
    """A plain 3x3 convolution without bias."""
    stem = nn.Conv2d(
        in_channels, out_channels, 3, padding=1, bias=False, device="meta"
    )  # draws no global random numbers
    stem.weight = nn.Parameter(kaiming_normal(out_channels, (in_channels, 3, 3), generator(seed, "weights", 0)))
    return stem


RESNET_18: Final = Architecture(
    name="resnet-18", build=_build, layer_sizes=_layer_sizes, needs_real_context=True, has_depth=False
)

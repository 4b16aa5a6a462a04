"""A small convolutional network, for CPUs."""

from collections.abc import Sequence
from itertools import pairwise
from typing import Final

from torch import Tensor, nn
from torch.nn import functional as F

from psp_core.contexts import Context
from psp_core.heads import TaskHeads
from psp_core.layers import SuperposedLinear
from psp_core.models.base import (
    Architecture,
    LayerSize,
    NetworkSize,
    SuperposedModel,
    TaskParts,
    conv_size,
    linear_size,
)
from psp_core.norms import NormedConv2d

# B batch, I inputs (pixels), O outputs

NAME: Final = "small-conv"


class SmallConv(SuperposedModel):
    """3x3 convolutions with contexts, each followed by batch norm, relu and pooling; a linear layer.

    `depth` convolutions have width, 2 width, 4 width, ... channels.

    Pooling takes the largest of 2x2 pixels, as long as both sides are at least 4. The linear layer
    reads the channels' means over what pixels are left. Inputs (B, I), logits (B, O).

    Source: ours, as small as a network with convolutions can be; a context on every convolution as in
    paper A's formula (papers.md, A2), batch norm as in the authors' ResNets (A7).
    """

    def __init__(
        self,
        convolutions: Sequence[NormedConv2d],
        last: SuperposedLinear | TaskHeads,
        context: Context,
        image_shape: tuple[int, int, int],
    ) -> None:
        """Chain the layers."""
        super().__init__(context)
        self.image_shape = image_shape
        self.convolutions = nn.ModuleList(convolutions)
        self.last = last

    def forward(self, x: Tensor, task: int) -> Tensor:
        """Logits of a batch of task `task`, shapes (B, I) to (B, O)."""
        h = x.reshape(-1, *self.image_shape)
        for convolution in self.convolutions:
            h = convolution(h, task).relu()
            if _is_pooled(h.shape[-2:]):
                h = F.max_pool2d(h, 2)
        logits: Tensor = self.last(h.mean(dim=(-2, -1)), task)
        return logits


def _build(size: NetworkSize, parts: TaskParts) -> SmallConv:
    channels = _channels(size)
    convolutions = [parts.conv(i, o, 3, index) for index, (i, o) in enumerate(pairwise(channels))]
    last = parts.output(channels[-1], size.out_features, size.depth)
    return SmallConv(convolutions, last, parts.context, size.image_shape)


def _layer_sizes(size: NetworkSize) -> list[LayerSize]:
    channels, sizes = _channels(size), []
    sides: Sequence[int] = size.image_shape[1:]
    for i, o in pairwise(channels):
        sizes.append(conv_size(i, o, 3, sides))
        sides = [side // 2 for side in sides] if _is_pooled(sides) else sides
    return [*sizes, linear_size(channels[-1], size.out_features)]


def _channels(size: NetworkSize) -> list[int]:
    """Of the image and of each convolution's output: width, 2 width, 4 width, ..."""
    if size.depth < 1:
        raise ValueError(
            f"depth={size.depth} must be at least 1 for model={NAME!r}, which has so many convolutions; "
            "give 1 or more, or use model='mlp' for a single linear layer."
        )
    return [size.image_shape[0], *(size.width * 2**layer for layer in range(size.depth))]


def _is_pooled(sides: Sequence[int]) -> bool:
    return min(sides) >= 4


SMALL_CONV: Final = Architecture(
    name=NAME, build=_build, layer_sizes=_layer_sizes, needs_real_context=True, has_norms=True
)

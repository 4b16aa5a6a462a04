"""A small convolutional network, for CPUs."""

from collections.abc import Sequence
from itertools import pairwise

from torch import Tensor, nn
from torch.nn import functional as F

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
from psp_core.parts import setting
from psp_core.rules import at_least

# B batch, I inputs (pixels), O outputs


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


class SmallConvModel(Convolutional, name="small-conv"):
    """A few convolutions and a linear layer."""

    width: int = width_setting()
    depth: int = setting(2, "Number of convolutions.", rule=at_least(1), column="depth")

    def build(self, size: NetworkSize, parts: TaskParts) -> SmallConv:
        """The network."""
        parts, channels = self.normed(parts), self._channels(size)
        convolutions = [parts.conv(i, o, 3, index) for index, (i, o) in enumerate(pairwise(channels))]
        last = parts.output(channels[-1], size.out_features, self.depth)
        return SmallConv(convolutions, last, parts.context, size.image_shape)

    def layer_sizes(self, size: NetworkSize) -> list[LayerSize]:
        """One layer after another."""
        channels, sizes = self._channels(size), []
        sides: Sequence[int] = size.image_shape[1:]
        for i, o in pairwise(channels):
            sizes.append(conv_size(i, o, 3, sides))
            sides = [side // 2 for side in sides] if _is_pooled(sides) else sides
        return [*sizes, linear_size(channels[-1], size.out_features)]

    def _channels(self, size: NetworkSize) -> list[int]:
        """Of the image and of each convolution's output: width, 2 width, 4 width, ..."""
        return [size.image_shape[0], *(self.width * 2**layer for layer in range(self.depth))]


def _is_pooled(sides: Sequence[int]) -> bool:
    return min(sides) >= 4

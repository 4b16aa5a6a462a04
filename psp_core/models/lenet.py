"""LeNet 300-100: the fully connected network of paper B's MNIST studies."""

from itertools import pairwise
from math import prod
from typing import Final

from psp_core.models.base import LayerSize, Model, NetworkSize, TaskParts, linear_size
from psp_core.models.mlp import SuperposedMLP, chain

HIDDEN: Final = (300, 100)
"""Units of its hidden layers (LeCun et al. 1998; papers.md, B5)."""


class LeNetModel(Model, name="lenet-300-100"):
    """A fully connected network of 300 and 100 hidden units."""

    def build(self, size: NetworkSize, parts: TaskParts) -> SuperposedMLP:
        """The network."""
        return chain([prod(size.image_shape), *HIDDEN], size.out_features, parts)

    def layer_sizes(self, size: NetworkSize) -> list[LayerSize]:
        """One layer after another."""
        return [linear_size(i, o) for i, o in pairwise([prod(size.image_shape), *HIDDEN, size.out_features])]

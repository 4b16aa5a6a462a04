"""LeNet 300-100: the fully connected network of paper B's MNIST studies."""

from itertools import pairwise
from math import prod
from typing import Final

from psp_core.models.base import Architecture, LayerSize, NetworkSize, TaskParts, linear_size
from psp_core.models.mlp import SuperposedMLP, chain

HIDDEN: Final = (300, 100)
"""Units of its hidden layers (LeCun et al. 1998; papers.md, B5)."""


def _build(size: NetworkSize, parts: TaskParts) -> SuperposedMLP:
    return chain([prod(size.image_shape), *HIDDEN], size.out_features, parts)


def _layer_sizes(size: NetworkSize) -> list[LayerSize]:
    sizes = [prod(size.image_shape), *HIDDEN, size.out_features]
    return [linear_size(i, o) for i, o in pairwise(sizes)]


LENET: Final = Architecture(
    name="lenet-300-100",
    build=_build,
    layer_sizes=_layer_sizes,
    needs_real_context=False,
    has_depth=False,
    has_width=False,
)

"""LeNet 300-100: the fully connected network of paper B's MNIST studies."""

from math import prod
from typing import Final

import torch

from psp_core.contexts import Context
from psp_core.models.base import Architecture, LayerSize
from psp_core.models.mlp import SuperposedMLP, chain
from psp_core.models.mlp import layer_sizes as mlp_sizes

HIDDEN: Final = (300, 100)


def lenet(
    context: Context,
    *,
    width: int,
    depth: int,
    image_shape: tuple[int, int, int],
    out_features: int,
    num_tasks: int,
    heads: str,
    seed: int,
    device: torch.device | None = None,
) -> SuperposedMLP:
    """A superposed network with hidden layers of 300 and 100 units; `width` and `depth` do not apply.

    Raises:
        ValueError: `heads="per-task"` with a complex context.

    Source: LeCun et al. 1998; paper B, section 4 (papers.md, B5).
    """
    return chain(
        [prod(image_shape), *HIDDEN],
        context,
        out_features=out_features,
        num_tasks=num_tasks,
        seed=seed,
        device=device,
        heads=heads,
    )


def layer_sizes(*, width: int, depth: int, image_shape: tuple[int, int, int], out_features: int) -> list[LayerSize]:
    """Its three layers."""
    first, second = HIDDEN
    (to_first, _), (_, last) = (
        mlp_sizes(width=size, depth=1, image_shape=image_shape, out_features=out_features) for size in HIDDEN
    )
    return [to_first, LayerSize(first, second, 1, has_context=True, has_bias=True), last]


LENET: Final = Architecture(
    name="lenet-300-100",
    build=lenet,
    layer_sizes=layer_sizes,
    needs_real_context=False,
    has_depth=False,
    has_width=False,
)

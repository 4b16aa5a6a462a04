"""The fully connected network."""

from collections.abc import Sequence
from itertools import pairwise
from math import prod
from typing import Final

import torch
from torch import Tensor, nn

from psp_core.contexts import Context
from psp_core.heads import TaskHeads
from psp_core.layers import SuperposedLinear
from psp_core.models.base import Architecture, LayerSize, SuperposedModel, output_layer

# B batch, I inputs, O outputs; 2 = real and imaginary part


class SuperposedMLP(SuperposedModel):
    """A fully connected network in which every layer has its own contexts.

    x(l+1) = relu(W(l) (c(l, k) * x(l))), the last layer without relu. Takes real inputs (B, I) and
    gives real logits (B, O). With complex contexts the input's imaginary part is 0, relu acts on
    real and imaginary parts alike, and the logits are the last layer's real part. The last layer may
    be heads for each task instead, which have no contexts.

    Source: paper A, section 4.1; the complex network as in the authors' code (papers.md, A7).
    """

    def __init__(self, layers: Sequence[SuperposedLinear | TaskHeads], context: Context) -> None:
        """Chain the layers."""
        super().__init__(context)
        self.layers = nn.ModuleList(layers)

    def forward(self, x: Tensor, task: int) -> Tensor:
        """Logits of a batch of task `task`, shapes (B, I) to (B, O)."""
        if self.context.is_complex:
            x = torch.stack([x, torch.zeros_like(x)], dim=-2)
        *hidden, last = self.layers
        for layer in hidden:
            x = layer(x, task).relu()
        logits: Tensor = last(x, task)
        return logits[..., 0, :] if self.context.is_complex else logits


def mlp(
    width: int,
    depth: int,
    context: Context,
    *,
    in_features: int,
    out_features: int,
    num_tasks: int,
    seed: int,
    device: torch.device | None = None,
    heads: str = "shared",
) -> SuperposedMLP:
    """A superposed network with `depth` hidden layers of `width` units each.

    `depth=0` is a single linear layer. See `SuperposedLinear` for weights, contexts, biases and `device`.

    Raises:
        ValueError: `heads="per-task"` with a complex context.
    """
    return chain(
        [in_features, *[width] * depth],
        context,
        out_features=out_features,
        num_tasks=num_tasks,
        seed=seed,
        device=device,
        heads=heads,
    )


def chain(
    sizes: Sequence[int],
    context: Context,
    *,
    out_features: int,
    num_tasks: int,
    seed: int,
    device: torch.device | None,
    heads: str,
) -> SuperposedMLP:
    """A superposed network whose input and hidden layers have these sizes.

    Raises:
        ValueError: `heads="per-task"` with a complex context.
    """
    hidden = [
        SuperposedLinear(i, o, context, num_tasks, seed=seed, index=index, device=device)
        for index, (i, o) in enumerate(pairwise(sizes))
    ]
    last = output_layer(
        sizes[-1], out_features, context, num_tasks, heads=heads, seed=seed, index=len(hidden), device=device
    )
    return SuperposedMLP([*hidden, last], context)


def build(
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
    """`mlp`, of a trial's settings."""
    return mlp(
        width,
        depth,
        context,
        in_features=prod(image_shape),
        out_features=out_features,
        num_tasks=num_tasks,
        seed=seed,
        device=device,
        heads=heads,
    )


def layer_sizes(*, width: int, depth: int, image_shape: tuple[int, int, int], out_features: int) -> list[LayerSize]:
    """Hidden layers and the last one."""
    sizes = [prod(image_shape), *[width] * depth, out_features]
    return [LayerSize(i, o, 1, has_context=True, has_bias=True) for i, o in pairwise(sizes)]


MLP: Final = Architecture(name="mlp", build=build, layer_sizes=layer_sizes, needs_real_context=False)

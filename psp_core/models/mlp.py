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
from psp_core.models.base import Architecture, LayerSize, NetworkSize, SuperposedModel, TaskParts, linear_size

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
    parts = TaskParts(context=context, num_tasks=num_tasks, seed=seed, heads=heads, device=device)
    return chain([in_features, *[width] * depth], out_features, parts)


def chain(sizes: Sequence[int], out_features: int, parts: TaskParts) -> SuperposedMLP:
    """A superposed network whose input and hidden layers have these sizes.

    Raises:
        ValueError: heads for each task with a complex context.
    """
    hidden = [parts.linear(i, o, index) for index, (i, o) in enumerate(pairwise(sizes))]
    return SuperposedMLP([*hidden, parts.output(sizes[-1], out_features, len(hidden))], parts.context)


def _build(size: NetworkSize, parts: TaskParts) -> SuperposedMLP:
    return chain([prod(size.image_shape), *[size.width] * size.depth], size.out_features, parts)


def _layer_sizes(size: NetworkSize) -> list[LayerSize]:
    sizes = [prod(size.image_shape), *[size.width] * size.depth, size.out_features]
    return [linear_size(i, o) for i, o in pairwise(sizes)]


MLP: Final = Architecture(name="mlp", build=_build, layer_sizes=_layer_sizes, needs_real_context=False)

"""The fully connected network."""

from collections.abc import Sequence
from itertools import pairwise
from math import prod

import torch
from torch import Tensor, nn

from psp_core.contexts import Context
from psp_core.course import Course
from psp_core.heads import TaskHeads
from psp_core.layers import SuperposedLinear
from psp_core.models.base import LayerSize, Model, NetworkSize, SuperposedModel, TaskParts, linear_size, width_setting
from psp_core.parts import setting
from psp_core.rules import at_least

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


class MLPModel(Model, name="mlp"):
    """A fully connected network."""

    width: int = width_setting()
    depth: int = setting(2, "Number of hidden layers, or of convolutions.", rule=at_least(0), column="depth")

    def build(self, size: NetworkSize, parts: TaskParts) -> SuperposedMLP:
        """The network; of depth 0 it is a single linear layer."""
        return chain(self._sizes(size), size.out_features, parts)

    def layer_sizes(self, size: NetworkSize) -> list[LayerSize]:
        """One layer after another."""
        return [linear_size(i, o) for i, o in pairwise([*self._sizes(size), size.out_features])]

    def _sizes(self, size: NetworkSize) -> list[int]:
        return [prod(size.image_shape), *[self.width] * self.depth]

    def check(self, trial: Course) -> None:
        """Refuse a width where there is no hidden layer."""
        if self.depth == 0 and self.width != type(self).width:
            raise ValueError(f"width={self.width} does not apply at depth=0, a single layer; leave it out.")

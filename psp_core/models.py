"""Networks made of superposed layers."""

from itertools import pairwise

import torch
from torch import Tensor, nn

from psp_core.contexts import Context
from psp_core.layers import SuperposedLinear

# B batch, I inputs, O outputs; 2 = real and imaginary part


class SuperposedMLP(nn.Module):
    """A fully connected network in which every layer has its own contexts.

    x(l+1) = relu(W(l) (c(l, k) * x(l))), the last layer without relu. Takes real inputs (B, I) and
    gives real logits (B, O). With complex contexts the input's imaginary part is 0, relu acts on
    real and imaginary parts alike, and the logits are the last layer's real part.

    Source: paper A, section 4.1; the complex network as in the authors' code (papers.md, A7).
    """

    def __init__(self, layers: list[SuperposedLinear]) -> None:
        """Chain the layers."""
        super().__init__()
        self.layers = nn.ModuleList(layers)
        self.context = layers[0].context
        self.input_sizes = [layer.weight.shape[0] for layer in layers]

    def forward(self, x: Tensor, task: int) -> Tensor:
        """Logits of a batch of task `task`, shapes (B, I) to (B, O)."""
        if self.context.is_complex:
            x = torch.stack([x, torch.zeros_like(x)], dim=-2)
        *hidden, last = self.layers
        for layer in hidden:
            x = layer(x, task).relu()
        logits: Tensor = last(x, task)
        return logits[..., 0, :] if self.context.is_complex else logits

    def bytes_per_task(self) -> int:
        """Bytes that one more task costs the whole network."""
        return sum(self.context.bytes_per_task(size) for size in self.input_sizes)

    def bytes_once(self) -> int:
        """Bytes of contexts that all tasks share."""
        return sum(self.context.bytes_once(size) for size in self.input_sizes)


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
) -> SuperposedMLP:
    """A superposed network with `depth` hidden layers of `width` units each.

    `depth=0` is a single linear layer. See `SuperposedLinear` for weights, contexts, biases and `device`.
    """
    sizes = [in_features, *[width] * depth, out_features]
    return SuperposedMLP(
        [
            SuperposedLinear(i, o, context, num_tasks, seed=seed, index=index, device=device)
            for index, (i, o) in enumerate(pairwise(sizes))
        ]
    )

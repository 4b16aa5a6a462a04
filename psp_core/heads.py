"""A separate output layer for each task: the multihead baseline."""

import torch
from torch import Tensor, nn

from psp_core.contexts import Context
from psp_core.initial_weights import initial_bias, initial_weights
from psp_core.randomness import generator

# B batch, I inputs, O outputs, K tasks


class TaskHeads(nn.Module):
    """y = W(k) x + b(k): a plain linear layer for each of K tasks, without a context.

    Shapes: (B, I) to (B, O). Weights are Xavier normal, N(0, 2 / (I + O)), and biases zero at first, unless `initial`
    says otherwise. The head of task k does not depend on K.

    Heads are buffers with the tasks first, `weight` (K, I, O) and `bias` (K, O), as contexts are. Training copies the
    current task's row to where the step reads it, and puts the row back at the end of the task. As parameters, all K
    heads would pass through the optimiser at every step, and its state would move the heads of earlier tasks.

    Args:
        in_features: I, at least 1.
        out_features: O, at least 1.
        num_tasks: K, the number of heads to draw.
        seed: of the weights.
        index: the layer's place in its network.
        device: where the heads are kept.
        context: of the units before the heads, where these have contexts of their own (`Context.is_of_units`).
        initial: the distribution of the first weights and biases, of `INITIAL_WEIGHTS`.

    Source: "multihead" of paper A's iCIFAR experiment (papers.md, A5); initialisation as in its code (A7).
    """

    weight: Tensor
    bias: Tensor
    contexts: Tensor | None

    def __init__(
        self,
        in_features: int,
        out_features: int,
        num_tasks: int,
        *,
        seed: int,
        index: int = 0,
        device: torch.device | None = None,
        context: Context | None = None,
        initial: str = "usual",
    ) -> None:
        """Draw the weights."""
        super().__init__()
        self.num_tasks = num_tasks
        rngs = [generator(seed, "heads", index, task) for task in range(num_tasks)]
        size = (in_features, out_features)
        weights = torch.stack([initial_weights(initial, *size, rng, is_plain=False) for rng in rngs])
        biases = torch.stack([initial_bias(initial, *size, rng, is_plain=False) for rng in rngs])
        self.register_buffer("weight", weights.to(device))
        self.register_buffer("bias", biases.to(device))
        rng = generator(seed, "contexts", index)
        self.context, gates = context, context.sample(num_tasks, in_features, rng, device) if context else None
        self.register_buffer("contexts", gates)

    def forward(self, x: Tensor, task: int) -> Tensor:
        """Logits of a batch of `task`.

        Raises:
            IndexError: `task` is not in 0..K-1.
        """
        if not 0 <= task < self.num_tasks:
            raise IndexError(f"task={task} must lie in 0..{self.num_tasks - 1}, the heads of this layer.")
        if self.context and self.contexts is not None:
            x = self.context.bind(x, self.contexts[task])
        return x @ self.weight[task] + self.bias[task]

    def bind_as(self, context: Context) -> None:
        """Give heads without contexts of units neutral ones: what they compute stays as it is."""
        if self.contexts is None:
            self.context = context
            self.contexts = context.neutral(self.num_tasks, self.weight.shape[1], self.weight.device)

    def bytes_per_task(self) -> int:
        """Bytes of contexts that one more task costs."""
        return self.context.bytes_per_task(self.weight.shape[1]) if self.context else 0

    def extra_repr(self) -> str:
        """Sizes, for printing."""
        return f"{self.weight.shape[1]}, {self.weight.shape[2]}, num_tasks={self.num_tasks}"

"""The superposed linear layer: the weights of many tasks in one matrix."""

import math

import torch
from torch import Tensor, nn

from psp_core.contexts import Context, get_context
from psp_core.contexts.diagonal import Diagonal
from psp_core.initial_weights import initial_bias, initial_weights
from psp_core.randomness import generator

# B batch, I inputs, O outputs, K tasks; 2 = real and imaginary part


class SuperposedLinear(nn.Module):
    """y = W (c(k) * x) + b, with a separate context c(k) for each of K tasks.

    Shapes: (B, I) to (B, O) for real contexts; (B, 2, I) to (B, 2, O) for complex ones, real part first. A complex
    product runs as one real product: the two parts of the batch are stacked as rows, the two parts of the weights as
    columns.

    Initial weights are Xavier normal, N(0, 2 / (I + O)), unless `initial` says otherwise. A complex weight has that
    modulus (signed) and a phase uniform in [-pi, pi), so that E|w|^2 is the same for every context.

    Every context has the same bias: O real numbers, zero at first (but see `initial`), shared by all tasks and not
    bound to a context. A complex layer adds the bias to the real part. The authors' code uses biases in rotation layers
    and in the baseline, ignores them in binary layers, and adds them to the real part of complex layers. So its
    comparison mixes two effects (papers.md, A7 and A8).

    With output contexts, y = s(k) * (W (c(k) * x)) + b. Task k's weights are W * (c s^T), W times a matrix of rank one.
    The s(k) are random signs at first.

    Args:
        in_features: I, at least 1.
        out_features: O, at least 1.
        context: the kind of the contexts.
        num_tasks: K, the number of contexts to draw.
        seed: of the weights and the contexts, which are drawn independently of each other.
        index: the layer's place in its network; layers of one seed differ by their index.
        device: where the contexts are made and kept; the weights are on the CPU until moved.
        output_contexts: whether each task also has a number for each output.
        initial: the distribution of the first weights and biases, of `INITIAL_WEIGHTS`.

    Raises:
        ValueError: output contexts are asked for, and a context is not one real number for each input.

    Source: paper A, sections 2 and 4.1; initialisation as in the authors' code. Output contexts: BatchE, a
    rival of paper B (papers.md, B4).
    """

    contexts: Tensor
    output_contexts: Tensor | None

    def __init__(
        self,
        in_features: int,
        out_features: int,
        context: Context,
        num_tasks: int,
        *,
        seed: int,
        index: int = 0,
        device: torch.device | None = None,
        output_contexts: bool = False,
        initial: str = "usual",
    ) -> None:
        """Draw the weights and the contexts."""
        super().__init__()
        self.context = context
        self.context_size = in_features
        self.num_tasks = num_tasks
        size, is_plain = (in_features, out_features), context.is_trivial and not context.is_complex
        weights = initial_weights(initial, *size, generator(seed, "weights", index), is_plain=is_plain)
        if context.is_complex:
            angles = torch.rand(in_features, out_features, generator=generator(seed, "phases", index))
            phase = (angles * 2 - 1) * math.pi
            weights = torch.stack([weights * phase.cos(), weights * phase.sin()], dim=1)  # I2O
        self.weight = nn.Parameter(weights)
        self.bias = nn.Parameter(initial_bias(initial, *size, generator(seed, "biases", index), is_plain=is_plain))
        contexts = context.sample(num_tasks, in_features, generator(seed, "contexts", index), device)
        self.register_buffer("contexts", contexts)
        signs = draw_output_contexts(context, num_tasks, out_features, seed, index, device) if output_contexts else None
        self.register_buffer("output_contexts", signs)

    def forward(self, x: Tensor, task: int) -> Tensor:
        """The layer's output for a batch of `task`.

        Raises:
            IndexError: `task` is not in 0..K-1.
        """
        if not 0 <= task < self.num_tasks:
            raise IndexError(f"task={task} must lie in 0..{self.num_tasks - 1}, the contexts of this layer.")
        bound = self.context.bind(x, self.contexts[task])
        if self.context.is_complex:
            return self._complex_product(bound)
        y = bound @ self.weight
        return (y if self.output_contexts is None else y * self.output_contexts[task]) + self.bias

    def _complex_product(self, x_B2I: Tensor) -> Tensor:
        y_B22O = (x_B2I @ self.weight.flatten(1)).reshape(*x_B2I.shape[:-1], 2, -1)  # part of x, part of W
        real = y_B22O[..., 0, 0, :] - y_B22O[..., 1, 1, :] + self.bias
        imaginary = y_B22O[..., 0, 1, :] + y_B22O[..., 1, 0, :]
        return torch.stack([real, imaginary], dim=-2)

    def extra_repr(self) -> str:
        """Sizes and context, for printing."""
        shape = f"{self.weight.shape[0]}, {self.weight.shape[-1]}"
        return f"{shape}, context={self.context.name}, num_tasks={self.num_tasks}"


def draw_output_contexts(
    context: Context, num_tasks: int, out_features: int, seed: int, index: int, device: torch.device | None
) -> Tensor:
    """A random sign for each task and output of layer `index`, shape (K, O); the signs of a task do not depend on K.

    Raises:
        ValueError: `context` is not one real number for each input.
    """
    check_output_contexts(context)
    return get_context("binary").sample(num_tasks, out_features, generator(seed, "output contexts", index), device)


def check_output_contexts(context: Context) -> None:
    """Refuse a context that does not make a matrix of rank one with output contexts.

    Raises:
        ValueError: `context` is not one real number for each input.
    """
    if not isinstance(context, Diagonal):
        raise ValueError(
            f"output_contexts=true does not apply to context={context.name!r}, which is not one real number for each "
            "input; use 'binary', or leave it out."
        )

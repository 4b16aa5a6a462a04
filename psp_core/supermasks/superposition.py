"""A network with a mix of all its masks, and the gradient of an objective with respect to the mix."""

from collections.abc import Sequence
from typing import Final

import torch
from torch import Tensor

from psp_core.supermasks.mask_table import MaskTable
from psp_core.supermasks.objectives import Objective

# A questions, each about one batch, B images, I inputs, O outputs, K tasks stored, m of them in the mix

CHUNK_BYTES: Final = {"cpu": 2**25, "cuda": 2**29}
"""Bytes, at most, of the weight gradients (or superposed weights) of the questions that are answered together."""


class Superposition:
    """p(alpha) = f(x, W * sum_i alpha_i M^i), a ReLU network with frozen weights W and no biases.

    One forward and one backward pass give dF/dalpha_i of an objective F for every task i. F depends on alpha through
    V = W * sum_i alpha_i M^i alone, so dF/dalpha_i = sum over layers of <dF/dV * W, M^i>.

    Args:
        weights: W of each layer, (I, O), on the table's device.
        table: the masks M.
        objective: F, of `OBJECTIVES`.
        num_real: how many of the outputs are classes.

    Raises:
        ValueError: weights and masks differ in shape.

    Source: papers.md, B4.
    """

    def __init__(self, weights: Sequence[Tensor], table: MaskTable, objective: Objective, num_real: int) -> None:
        """Check the shapes."""
        shapes = [tuple(weight.shape) for weight in weights]
        if shapes != [tuple(shape) for shape in table.shapes]:
            raise ValueError(f"weights of shapes {shapes} and masks of shapes {table.shapes} must be the same layers'.")
        self.weights = list(weights)
        self.table = table
        self.objective = objective
        self.num_real = num_real
        per_question = 4 * sum(weight.numel() for weight in weights)
        self._questions_at_once = max(1, CHUNK_BYTES[table.device.type] // per_question)

    def __len__(self) -> int:
        """K, the number of tasks."""
        return len(self.table)

    @torch.no_grad()
    def value(self, x: Tensor, task: int) -> Tensor:
        """F of the network of `task` alone, for batches (..., B, I): shape (...)."""
        logits = self.logits(x, x.new_ones(1), torch.tensor([task], device=x.device))
        return self.objective(logits, self.num_real)

    @torch.no_grad()
    def logits(self, x: Tensor, alpha: Tensor | None = None, tasks: Tensor | None = None) -> Tensor:
        """p(alpha) for batches (..., B, I), shape (..., B, O); `alpha` and `tasks` as in `gradient`."""
        return _forward(self._superposed(alpha, tasks), x)[0]

    @torch.no_grad()
    def gradient(self, x: Tensor, alpha: Tensor | None = None, tasks: Tensor | None = None) -> Tensor:
        """dF/dalpha at alpha.

        Args:
            x: (..., B, I); each batch is one question. Many questions in one call cost less than one call each.
            alpha: (m,), the same for all questions, or (..., m); None for 1 / K of each of all K tasks.
            tasks: the numbers of alpha's m tasks, (m,); every other task has 0. None for all K.

        Returns:
            Shape (..., m).
        """
        chunks = torch.split(x.reshape(-1, *x.shape[-2:]), self._questions_at_once)
        if alpha is None or alpha.dim() == 1:
            superposed = self._superposed(alpha, tasks)
            parts = [self._gradient(superposed, chunk, tasks) for chunk in chunks]
        else:
            alphas = torch.split(alpha.reshape(-1, alpha.shape[-1]), self._questions_at_once)
            parts = [self._gradient(self._superposed(a, tasks), c, tasks) for a, c in zip(alphas, chunks, strict=True)]
        return torch.cat(parts).view(*x.shape[:-2], -1)

    def _superposed(self, alpha: Tensor | None, tasks: Tensor | None) -> list[Tensor]:
        """V = W * sum_i alpha_i M^i of each layer: (I, O), or (A, I, O) where each question has its own alpha."""
        masks = self.table.mean() if alpha is None else self.table.combination(alpha, tasks)
        return [mask.mul_(weight) for mask, weight in zip(masks, self.weights, strict=True)]

    def _gradient(self, superposed: Sequence[Tensor], x_ABI: Tensor, tasks: Tensor | None) -> Tensor:
        """dF/dalpha (A, m) of some questions."""
        logits, inputs = _forward(superposed, x_ABI)
        g = self._logits_gradient(logits)
        mask_gradients: list[Tensor] = []
        for weight, v, z in zip(reversed(self.weights), reversed(superposed), reversed(inputs), strict=True):
            mask_gradients.insert(0, (z.mT @ g).mul_(weight))
            if len(mask_gradients) < len(inputs):
                # The input z is a relu's output: where z is 0, the gradient is 0.
                g = torch.ops.aten.threshold_backward(g @ v.mT, z, 0)
        return self.table.inner_products(mask_gradients, tasks)

    @torch.enable_grad()
    def _logits_gradient(self, logits: Tensor) -> Tensor:
        logits = logits.detach().requires_grad_()
        (gradient,) = torch.autograd.grad(self.objective(logits, self.num_real).sum(), logits)
        return gradient


def _forward(weights: Sequence[Tensor], x: Tensor) -> tuple[Tensor, list[Tensor]]:
    """The logits, and the input of each layer."""
    *hidden, last = weights
    inputs = [x]
    for weight in hidden:
        inputs.append((inputs[-1] @ weight).relu_())
    return inputs[-1] @ last, inputs

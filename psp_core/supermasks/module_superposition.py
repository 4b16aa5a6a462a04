"""A mix of all masks in any module: convolutions, shortcuts, norms."""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from psp_core.supermasks.mask_table import MaskTable
from psp_core.supermasks.objectives import Objective
from psp_core.supermasks.superposition import Superposition

# A questions, each about one batch, B images, I inputs, O outputs, m tasks in the mix

MixedNetwork = Callable[[Sequence[Tensor], Tensor], Tensor]
"""Logits (B, O) of inputs (B, I), given each layer's weights (I, O)."""
OwnNetwork = Callable[[int, Tensor], Tensor]
"""Logits (B, O) of inputs (B, I), given the task."""


class ModuleSuperposition(Superposition):
    """p(alpha) = f(x, W * sum_i alpha_i M^i), where f is what a module computes with its layers' weights.

    As `Superposition`, but dF/dV comes from autograd, one question at a time. A mix of tasks has the batch norm
    statistics of no task. So a question's images give the statistics, as for contexts (`ContextSuperposition`).

    Args:
        mixed: the network with any weights.
        own: the network of one task, with the task's own statistics.
        weights: W of each layer, (I, O), on the table's device.
        table: the masks M.
        objective: F, of `OBJECTIVES`.
        num_real: how many of the outputs are classes.

    Raises:
        ValueError: weights and masks differ in shape.

    Source: papers.md, B4, for fully connected networks; convolutions are ours.
    """

    def __init__(
        self,
        mixed: MixedNetwork,
        own: OwnNetwork,
        weights: Sequence[Tensor],
        table: MaskTable,
        objective: Objective,
        num_real: int,
    ) -> None:
        """Check the shapes."""
        super().__init__(weights, table, objective, num_real)
        self.mixed = mixed
        self.own = own

    @torch.no_grad()
    def value(self, x: Tensor, task: int) -> Tensor:
        """F of the network of `task` alone, for batches (..., B, I): shape (...)."""
        logits = [self.own(task, x_BI) for x_BI in x.reshape(-1, *x.shape[-2:])]
        return self.objective(torch.stack(logits), self.num_real).view(x.shape[:-2])

    @torch.no_grad()
    def logits(self, x: Tensor, alpha: Tensor | None = None, tasks: Tensor | None = None) -> Tensor:
        """p(alpha) for batches (..., B, I), shape (..., B, O); as in `gradient`, with one `alpha` for all questions."""
        superposed = self._superposed(alpha, tasks)
        logits = [self.mixed(superposed, x_BI) for x_BI in x.reshape(-1, *x.shape[-2:])]
        return torch.stack(logits).view(*x.shape[:-1], -1)

    @torch.enable_grad()
    def _gradient(self, superposed: Sequence[Tensor], x_ABI: Tensor, tasks: Tensor | None) -> Tensor:
        """dF/dalpha (A, m) of some questions."""
        of_questions = []
        for a, x_BI in enumerate(x_ABI):
            leaves = [(v if v.dim() == 2 else v[a]).detach().requires_grad_() for v in superposed]
            value = self.objective(self.mixed(leaves, x_BI), self.num_real)
            of_questions.append(torch.autograd.grad(value, leaves))
        of_layers = zip(*of_questions, strict=True)
        mask_gradients = [torch.stack(g).mul_(weight) for g, weight in zip(of_layers, self.weights, strict=True)]
        return self.table.inner_products(mask_gradients, tasks)

"""Packs: E networks of the same shape that step together."""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn
from torch.func import functional_call, grad_and_value, stack_module_state, vmap

# E members, B batch, I inputs, O outputs


Tensors = dict[str, Tensor]


class Pack:
    """E ordinary modules of one shape, run as one.

    The members' parameters and buffers are stacked with E as the first dimension; the module itself
    is called through `torch.func`, so whatever a single network computes, a pack computes. No
    member's result depends on its neighbours'.
    """

    def __init__(self, models: Sequence[nn.Module], device: torch.device) -> None:
        """Stack the members on `device`; the modules themselves are no longer needed."""
        parameters, buffers = stack_module_state(list(models))
        self.parameters: Tensors = {name: p.detach().to(device) for name, p in parameters.items()}
        self.buffers: Tensors = {name: b.to(device) for name, b in buffers.items()}
        skeleton = models[0].to("meta")

        def logits(parameters: Tensors, buffers: Tensors, x_BI: Tensor, task: int) -> Tensor:
            return functional_call(skeleton, (parameters, buffers), (x_BI, task))  # type: ignore[no-any-return]

        def loss(parameters: Tensors, buffers: Tensors, x_BI: Tensor, labels_B: Tensor, task: int) -> Tensor:
            return nn.functional.cross_entropy(logits(parameters, buffers, x_BI, task), labels_B)

        self._loss = loss
        self._gradients: Callable[..., tuple[Tensors, Tensor]] = vmap(grad_and_value(loss), in_dims=(0, 0, 0, 0, None))
        self._logits: Callable[..., Tensor] = vmap(logits, in_dims=(0, 0, 0, None))
        if len(models) == 1:  # autograd alone costs less, and one member needs no batched products
            self._gradients = self._gradients_of_one
            self._logits = lambda p, b, x, task: logits(_first(p), _first(b), x[0], task)[None]

    def _gradients_of_one(
        self, parameters: Tensors, buffers: Tensors, x_EBI: Tensor, labels_EB: Tensor, task: int
    ) -> tuple[Tensors, Tensor]:
        leaves = {name: p[0].detach().requires_grad_() for name, p in parameters.items()}
        loss = self._loss(leaves, _first(buffers), x_EBI[0], labels_EB[0], task)
        gradients = torch.autograd.grad(loss, list(leaves.values()))
        return {name: g[None] for name, g in zip(leaves, gradients, strict=True)}, loss.detach()[None]

    def gradients(self, x_EBI: Tensor, labels_EB: Tensor, task: int) -> tuple[Tensors, Tensor]:
        """Each member's gradients of its mean cross-entropy on its own batch, and that loss (E,)."""
        return self._gradients(self.parameters, self.buffers, x_EBI, labels_EB, task)

    @torch.no_grad()
    def logits(self, x_EBI: Tensor, task: int) -> Tensor:
        """Each member's logits of its own batch, shape (E, B, O)."""
        return self._logits(self.parameters, self.buffers, x_EBI, task)

    def finite(self) -> Tensor:
        """Which members' parameters are all finite, shape (E,)."""
        finite = [p.flatten(1).isfinite().all(dim=1) for p in self.parameters.values()]
        return torch.stack(finite).all(dim=0)


def _first(tensors: Tensors) -> Tensors:
    return {name: tensor[0] for name, tensor in tensors.items()}

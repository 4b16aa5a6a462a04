"""Packs: E networks of the same shape that step together."""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn
from torch.func import functional_call, grad_and_value, stack_module_state, vmap

# E members, B batch, I inputs, O outputs, K tasks

Tensors = dict[str, Tensor]


class Pack:
    """E ordinary modules of one shape, run as one.

    The members' parameters and contexts are stacked with E as the first dimension; the module itself
    is called through `torch.func`, so whatever a single network computes, a pack computes. No
    member's result depends on its neighbours'.

    Attributes:
        parameters: the members' shared weights, each (E, ...).
        contexts: the members' buffers, which all hold contexts, each (E, K, ...).
    """

    def __init__(self, models: Sequence[nn.Module], device: torch.device, *, learned_contexts: bool = False) -> None:
        """Stack the members on `device`; the modules themselves are no longer needed."""
        parameters, buffers = stack_module_state(list(models))
        self.parameters: Tensors = {name: p.detach().to(device) for name, p in parameters.items()}
        self.contexts: Tensors = {name: b.to(device) for name, b in buffers.items()}
        skeleton = models[0].to("meta")

        def logits(parameters: Tensors, contexts: Tensors, x_BI: Tensor) -> Tensor:
            """The network sees the contexts of one task, and is asked for that."""
            return functional_call(skeleton, (parameters, contexts), (x_BI, 0))  # type: ignore[no-any-return]

        def loss(parameters: Tensors, contexts: Tensors, x_BI: Tensor, labels_B: Tensor) -> Tensor:
            return nn.functional.cross_entropy(logits(parameters, contexts, x_BI), labels_B)

        self.learned_contexts = learned_contexts
        self._loss = loss
        self._gradients = vmap(grad_and_value(loss, argnums=(0, 1) if learned_contexts else 0))
        self._logits: Callable[..., Tensor] = vmap(logits)
        if len(models) == 1:  # autograd alone costs less, and one member needs no batched products
            self._logits = lambda p, c, x_EBI: logits(_first(p), _first(c), x_EBI[0])[None]

    def of_task(self, task: int) -> Tensors:
        """Every layer's contexts of one task, each (E, 1, ...): views, so that updates reach the pack."""
        return {name: context[:, task : task + 1] for name, context in self.contexts.items()}

    def gradients(self, x_EBI: Tensor, labels_EB: Tensor, task: int) -> tuple[Tensors, Tensors, Tensor]:
        """Each member's gradients of its mean cross-entropy on its own batch.

        Returns:
            The gradients of the parameters; those of the task's contexts, shaped as `of_task` gives
            them (empty unless the pack's contexts are learned); and the loss, shape (E,).
        """
        inputs = (self.parameters, self.of_task(task), x_EBI, labels_EB)
        if len(x_EBI) == 1:
            return self._gradients_of_one(*inputs)
        gradients, loss_E = self._gradients(*inputs)
        of_parameters, of_contexts = gradients if self.learned_contexts else (gradients, {})
        return of_parameters, of_contexts, loss_E

    def _gradients_of_one(
        self, parameters: Tensors, contexts: Tensors, x_EBI: Tensor, labels_EB: Tensor
    ) -> tuple[Tensors, Tensors, Tensor]:
        weights = {name: p[0].detach().requires_grad_() for name, p in parameters.items()}
        contexts = {name: c[0].detach().requires_grad_(self.learned_contexts) for name, c in contexts.items()}
        loss = self._loss(weights, contexts, x_EBI[0], labels_EB[0])
        leaves = weights | contexts if self.learned_contexts else weights
        found = torch.autograd.grad(loss, list(leaves.values()))
        gradients = {name: g[None] for name, g in zip(leaves, found, strict=True)}
        of_contexts = {name: gradients.pop(name) for name in contexts if self.learned_contexts}
        return gradients, of_contexts, loss.detach()[None]

    @torch.no_grad()
    def logits(self, x_EBI: Tensor, task: int) -> Tensor:
        """Each member's logits of its own batch, shape (E, B, O)."""
        return self._logits(self.parameters, self.of_task(task), x_EBI)

    def finite(self) -> Tensor:
        """Which members' parameters are all finite, shape (E,)."""
        finite = [p.flatten(1).isfinite().all(dim=1) for p in self.parameters.values()]
        return torch.stack(finite).all(dim=0)


def _first(tensors: Tensors) -> Tensors:
    return {name: tensor[0] for name, tensor in tensors.items()}

"""Packs: E networks of the same shape that step together."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.func import functional_call, grad_and_value, stack_module_state, vmap

# E members, B batch, I inputs, O outputs


class Pack:
    """E ordinary modules of one shape, run as one.

    The members' parameters and buffers are stacked with E as the first dimension; the module itself
    is called through `torch.func`, so whatever a single network computes, a pack computes. No
    member's result depends on its neighbours'.
    """

    def __init__(self, models: Sequence[nn.Module], device: torch.device) -> None:
        """Stack the members on `device`; the modules themselves are no longer needed."""
        parameters, buffers = stack_module_state(list(models))
        self.parameters: dict[str, Tensor] = {name: p.detach().to(device) for name, p in parameters.items()}
        self.buffers: dict[str, Tensor] = {name: b.to(device) for name, b in buffers.items()}
        skeleton = models[0].to("meta")

        def logits(parameters: dict[str, Tensor], buffers: dict[str, Tensor], x_BI: Tensor, task: int) -> Tensor:
            return functional_call(skeleton, (parameters, buffers), (x_BI, task))  # type: ignore[no-any-return]

        def loss(
            parameters: dict[str, Tensor], buffers: dict[str, Tensor], x_BI: Tensor, labels_B: Tensor, task: int
        ) -> Tensor:
            return nn.functional.cross_entropy(logits(parameters, buffers, x_BI, task), labels_B)

        self._logits = vmap(logits, in_dims=(0, 0, 0, None))
        self._gradients = vmap(grad_and_value(loss), in_dims=(0, 0, 0, 0, None))

    def gradients(self, x_EBI: Tensor, labels_EB: Tensor, task: int) -> tuple[dict[str, Tensor], Tensor]:
        """Each member's gradients of its mean cross-entropy on its own batch, and that loss (E,)."""
        gradients, loss_E = self._gradients(self.parameters, self.buffers, x_EBI, labels_EB, task)
        return gradients, loss_E

    @torch.no_grad()
    def logits(self, x_EBI: Tensor, task: int) -> Tensor:
        """Each member's logits of its own batch, shape (E, B, O)."""
        logits_EBO: Tensor = self._logits(self.parameters, self.buffers, x_EBI, task)
        return logits_EBO

    def finite(self) -> Tensor:
        """Which members' parameters are all finite, shape (E,)."""
        finite = [p.flatten(1).isfinite().all(dim=1) for p in self.parameters.values()]
        return torch.stack(finite).all(dim=0)

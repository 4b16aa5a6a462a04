"""Packs: E networks of the same shape that step together."""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn
from torch.func import functional_call, grad_and_value, vmap

from psp_core.models import SuperposedMLP
from psp_core.packed_mlp import Layer, PackedMLP

# E members, P parameters of one member, C numbers of one member's contexts of one task, B batch, I inputs

Tensors = dict[str, Tensor]


class Pack:
    """E ordinary modules of one shape, run as one. No member's result depends on its neighbours'.

    All numbers of a kind lie in one tensor, a row for each member, so that an optimiser passes over
    them once; the named tensors are views of it. Gradients come from one of two paths:

    - `PackedMLP`, by hand, for superposed networks with fixed contexts;
    - `torch.func` for everything else, so whatever a single module computes, a pack computes.

    Every task's contexts are kept, once for all members that share a module; the current task's are
    copied to where the step reads them.

    Attributes:
        flat: the members' shared weights, (E, P), with zeros between those of two layers.
        flat_gradients: the gradients of `flat`, written by `gradients`.
        flat_contexts: the members' contexts of the current task, (E, C).
        flat_context_gradients: their gradients, written only where contexts are learned.
        parameters, parameter_gradients, contexts, context_gradients: views of these by name, each (E, ...).
        all_contexts: each member's contexts of all tasks by name, (K, ...); members may share them.
    """

    def __init__(
        self,
        models: Sequence[nn.Module],
        device: torch.device,
        *,
        learned_contexts: bool = False,
        dtype: torch.dtype = torch.float32,
    ) -> None:
        """Gather the members on `device`.

        Args:
            models: the members; the same module may stand for several of them, which then begin
                alike, and share their contexts unless these are learned.
            device: where everything is kept.
            learned_contexts: `gradients` finds those of the contexts too; each member then needs a
                module of its own.
            dtype: in what precision matrix products take their operands.
        """
        shapes = {name: p.shape for name, p in models[0].named_parameters()}
        context_shapes = {name: b.shape[1:] for name, b in models[0].named_buffers()}
        num_members = len(models)
        self.flat, self.parameters = _flat(shapes, num_members, device)
        self.flat_gradients, self.parameter_gradients = _flat(shapes, num_members, device)
        self.flat_contexts, self.contexts = _flat(context_shapes, num_members, device)
        self.flat_context_gradients, self.context_gradients = _flat(
            context_shapes if learned_contexts else {}, num_members, device
        )
        self.all_contexts = _moved([dict(model.named_buffers()) for model in models], device)
        for e, model in enumerate(models):
            for name, parameter in model.named_parameters():
                self.parameters[name][e] = parameter.detach()
        self.learned_contexts = learned_contexts
        self.device_type, self.dtype = device.type, dtype
        self._mlp = PackedMLP(models[0].context, dtype) if isinstance(models[0], SuperposedMLP) else None
        self._skeleton = models[0].to("meta")

    def __len__(self) -> int:
        """E, the number of members."""
        return len(self.flat)

    def begin(self, task: int) -> None:
        """Make `task` the current one."""
        for e, contexts in enumerate(self.all_contexts):
            for name, context in contexts.items():
                self.contexts[name][e] = context[task]

    def end(self, task: int) -> None:
        """Keep what was learned of the contexts of `task`, the current one."""
        if not self.learned_contexts:
            return
        for e, contexts in enumerate(self.all_contexts):
            for name, context in contexts.items():
                context[task] = self.contexts[name][e]

    @torch.no_grad()
    def gradients(self, x_EBI: Tensor, labels_EB: Tensor) -> Tensor:
        """Find each member's gradients of its mean cross-entropy on its own batch of the current task.

        Returns:
            The loss in nats, shape (E,).
        """
        if self._mlp and not self.learned_contexts:
            parameters, gradients = _layers(self.parameters), _layers(self.parameter_gradients)
            return self._mlp.loss_and_gradients(parameters, list(self.contexts.values()), gradients, x_EBI, labels_EB)
        of_parameters, of_contexts, loss_E = self._functional_gradients(x_EBI, labels_EB)
        for name, gradient in of_parameters.items():
            self.parameter_gradients[name].copy_(gradient)
        for name, gradient in of_contexts.items():
            self.context_gradients[name].copy_(gradient)
        return loss_E

    def _functional_gradients(self, x_EBI: Tensor, labels_EB: Tensor) -> tuple[Tensors, Tensors, Tensor]:
        def loss(parameters: Tensors, contexts: Tensors, x_BI: Tensor, labels_B: Tensor) -> Tensor:
            one_task = {name: context[None] for name, context in contexts.items()}
            with torch.autocast(self.device_type, self.dtype, enabled=self.dtype != torch.float32):
                logits_BO = functional_call(self._skeleton, (parameters, one_task), (x_BI, 0))
            return nn.functional.cross_entropy(logits_BO.float(), labels_B)

        inputs = (self.parameters, self.contexts, x_EBI, labels_EB)
        if len(self) == 1:  # autograd alone costs less
            return _autograd(loss, *inputs, learned_contexts=self.learned_contexts)
        wanted = (0, 1) if self.learned_contexts else 0
        gradients, loss_E = vmap(grad_and_value(loss, wanted))(*inputs)
        of_parameters, of_contexts = gradients if self.learned_contexts else (gradients, {})
        return of_parameters, of_contexts, loss_E

    def retrieve(self, tasks: Sequence[int]) -> list[Layer]:
        """Every member's weights and biases of each of T tasks, layer by layer: (E * T, ...), member first."""
        assert self._mlp, "only superposed networks are retrieved so far"
        context, retrieved = self._mlp.context, []
        for index, (weight, bias) in enumerate(_layers(self.parameters)):
            weights = weight.new_empty(len(self), len(tasks), *weight.shape[1:])
            for e, contexts in enumerate(self.all_contexts):
                of_layer = list(contexts.values())[index]
                weights[e] = context.retrieve(weight[e].expand_as(weights[e]), of_layer[list(tasks)])
            retrieved.append((weights.flatten(0, 1), bias.repeat_interleave(len(tasks), 0)))
        return retrieved

    @torch.no_grad()
    def logits(self, retrieved: Sequence[Layer], x_MBI: Tensor) -> Tensor:
        """Logits of M retrieved networks, each on its own batch: shape (M, O, B)."""
        assert self._mlp, "only superposed networks are retrieved so far"
        return self._mlp.logits(retrieved, x_MBI)

    def finite(self) -> Tensor:
        """Which members' parameters are all finite, shape (E,)."""
        return self.flat.isfinite().all(dim=1)


def _autograd(
    loss: Callable[..., Tensor],
    parameters: Tensors,
    contexts: Tensors,
    x_EBI: Tensor,
    labels_EB: Tensor,
    *,
    learned_contexts: bool,
) -> tuple[Tensors, Tensors, Tensor]:
    """What `vmap(grad_and_value(loss))` gives for a pack of one."""
    with torch.enable_grad():
        weights = {name: p[0].detach().requires_grad_() for name, p in parameters.items()}
        bound = {name: c[0].detach().requires_grad_(learned_contexts) for name, c in contexts.items()}
        value = loss(weights, bound, x_EBI[0], labels_EB[0])
        leaves = weights | bound if learned_contexts else weights
        gradients = dict(zip(leaves, torch.autograd.grad(value, list(leaves.values())), strict=True))
    of_contexts = {name: gradients.pop(name)[None] for name in bound if learned_contexts}
    return {name: g[None] for name, g in gradients.items()}, of_contexts, value.detach()[None]


def _flat(shapes: dict[str, torch.Size], num_members: int, device: torch.device) -> tuple[Tensor, Tensors]:
    """One tensor of zeros, and views of it with the shapes given.

    Each view begins at a multiple of 128 bytes in every row, which matrix products on GPUs need to be
    fast; between them zeros stay zeros.
    """
    sizes = [shape.numel() for shape in shapes.values()]
    flat = torch.zeros(num_members, sum(map(_padded, sizes)), device=device)
    pieces = torch.split(flat, list(map(_padded, sizes)), dim=1)
    views = [
        piece[:, :size].view(num_members, *shape)
        for piece, size, shape in zip(pieces, sizes, shapes.values(), strict=True)
    ]
    return flat, dict(zip(shapes, views, strict=True))


def _padded(size: int) -> int:
    return -(-size // 32) * 32


def _layers(tensors: Tensors) -> list[Layer]:
    """The weights and biases of a superposed network, in the order of its layers."""
    values = iter(tensors.values())
    return list(zip(values, values, strict=True))


def _moved(tensors: Sequence[Tensors], device: torch.device) -> list[Tensors]:
    """The same tensors on `device`; what is shared stays shared."""
    moved = {id(t): t.to(device) for members in tensors for t in members.values()}
    return [{name: moved[id(t)] for name, t in members.items()} for members in tensors]

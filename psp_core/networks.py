"""E networks of one shape, run as one: their numbers, their gradients and their answers."""

from collections.abc import Callable, Collection, Iterable, Sequence
from contextlib import nullcontext
from functools import cached_property, partial
from typing import Any, Final

import torch
from torch import Tensor, nn
from torch.func import functional_call, grad_and_value, jacrev, vmap

from psp_core.context_superposition import ContextSuperposition
from psp_core.contexts import Context
from psp_core.flat_views import Tensors, flat_views, named_views
from psp_core.images import Images, inputs_of
from psp_core.importance import Fisher, Importance
from psp_core.inference import Inferred
from psp_core.kernels.choice import has_kernels
from psp_core.kernels.softmax_loss import softmax_loss
from psp_core.models import SuperposedMLP
from psp_core.norms import measured_buffers, total_moments, watched
from psp_core.packed_mlp import Layer, PackedMLP
from psp_core.soft_loss import soft_loss
from psp_core.trained_schedules import TrainedSchedule

# E members, P parameters of one member, C numbers of one member's contexts of one task, B batch, I inputs

IMPORTANCE_IMAGES: Final = 8
"""Images whose gradients, one for each function and weight, are held at once where autograd finds them."""


class Networks:
    """E ordinary modules of one shape, run as one. No member's result depends on its neighbours'.

    All numbers of a kind lie in one tensor, a row for each member, so that an optimiser passes over
    them once; the named tensors are views of it. Gradients come from one of two paths:

    - `PackedMLP`, by hand, for superposed networks with fixed contexts of their inputs;
    - `torch.func` for everything else, so whatever a single module computes, these compute.

    A module's buffers hold what belongs to one task each, contexts, heads and statistics, a row for each task.
    All rows are kept, once for all members that share a module; the current task's are copied to where the
    step reads them, and those that are trained or measured are put back when the task ends. Statistics are
    each member's own, whoever shares its module.

    Attributes:
        flat: the members' shared weights, (E, P), with zeros between those of two layers.
        flat_gradients: the gradients of `flat`, written by `gradients`; bfloat16 where products are, on a device with
            kernels, and gradients need not be exact.
        flat_contexts: what the members use of the current task and do not train, (E, C).
        flat_learned: what they use of it and train.
        flat_learned_gradients: its gradients, written by `gradients`.
        parameters, parameter_gradients, contexts, learned, learned_gradients: views of these by name, each (E, ...).
        all_contexts: each member's buffers by name, (K, ...); members may share them.
        measured: names of the buffers that `settle` measures: what batch norms know of each task.
        trains_rows: whether what is learned belongs to the current row alone, and not to all rows together.
    """

    def __init__(
        self,
        models: Sequence[nn.Module],
        device: torch.device,
        *,
        learned: Collection[str] = (),
        dtype: torch.dtype = torch.float32,
        schedule: TrainedSchedule | None = None,
        mixes_rows: bool = False,
        exact_gradients: bool = True,
    ) -> None:
        """Gather the members on `device`.

        Args:
            models: the members; the same module may stand for several of them, which then begin
                alike, and share their contexts.
            device: where everything is kept.
            learned: names of buffers that are trained too, none of them measured; each member then needs a
                module of its own.
            dtype: in what precision matrix products take their operands.
            schedule: makes the contexts in use of those that are learned, all of which are trained together; None
                where the current row alone is.
            mixes_rows: whether images of one batch are of different rows (`mixed_gradients`), so that all rows are
                trained together.
            exact_gradients: whether gradients are of the weights' own type even where products are bfloat16: where
                more than an optimiser reads them.
        """
        shapes = {name: p.shape for name, p in models[0].named_parameters()}
        rows = {name: b.shape[1:] for name, b in models[0].named_buffers()}
        fixed = {name: shape for name, shape in rows.items() if name not in learned}
        trained = {
            name: b.shape if schedule or mixes_rows else rows[name]
            for name, b in models[0].named_buffers()
            if name in learned
        }
        num_members = len(models)
        self.flat, self.parameters = flat_views(shapes, num_members, device)
        self._mlp = _by_hand(models[0], dtype)
        self._by_hand = not learned
        rounds = self._mlp and self._by_hand and dtype != torch.float32 and has_kernels(device)
        self._flat_rounded, self._rounded = flat_views(shapes if rounds else {}, num_members, device, dtype)
        self._is_kept_rounded = False
        of_gradients = dtype if rounds and not exact_gradients else None
        self.flat_gradients, self.parameter_gradients = flat_views(shapes, num_members, device, of_gradients)
        self.flat_contexts, self.contexts = flat_views(fixed, num_members, device)
        self.flat_learned, self.learned = flat_views(trained, num_members, device)
        self.flat_learned_gradients, self.learned_gradients = flat_views(trained, num_members, device)
        self.all_contexts = _moved([dict(model.named_buffers()) for model in models], device)
        self.measured = measured_buffers(models[0])
        for contexts in self.all_contexts:
            contexts.update({name: contexts[name].clone() for name in self.measured})
        self._fixed_rows = {  # (E, K, ...) each, of batches whose images are of any row
            name: torch.stack([of_member[name] for of_member in self.all_contexts])
            for name in (self.contexts if mixes_rows else ())
        }
        for e, model in enumerate(models):
            for name, parameter in model.named_parameters():
                self.parameters[name][e] = parameter.detach()
        self._schedule, self._position_1 = schedule, torch.zeros(1, device=device)
        self.trains_rows = not schedule and not mixes_rows
        for name, tables in self.learned.items() if not self.trains_rows else ():
            for e, contexts in enumerate(self.all_contexts):
                contexts[name] = tables[e].copy_(contexts[name])  # what is kept is what is trained
        self._device, self.device_type, self.dtype = device, device.type, dtype
        self._skeleton = models[0].to("meta")

    def __len__(self) -> int:
        """E, the number of members."""
        return len(self.flat)

    def begin(self, row: int) -> None:
        """Make the buffers' numbers of `row` the current ones."""
        self._round()
        if self._schedule:
            self._position_1.fill_(self._schedule.position(row))
        for name, current in (self.contexts | self._learned_by_row()).items():
            rows = [contexts[name][self._drawn(row)] for contexts in self.all_contexts]
            torch._foreach_copy_(current.unbind(), rows)  # one kernel on a GPU

    def keep_rounded(self) -> Tensor | None:
        """The copy of `flat` that products take, (E, P), to be kept by the caller; None where they take `flat` itself.

        From now on, whoever moves `flat` between two calls of `begin` moves the copy too, as an optimiser does in the
        same pass. Until this is called the copy is made anew at each step.
        """
        self._is_kept_rounded = True
        return self._flat_rounded if self._rounded else None

    def _round(self) -> None:
        if self._rounded:
            self._flat_rounded.copy_(self.flat)

    def _operands(self) -> list[Layer]:
        """The weights as products take them, and the biases."""
        layers = _layers(self.parameters)
        if not self._rounded:
            return layers
        if not self._is_kept_rounded:
            self._round()
        return [(weight, bias) for (weight, _), (_, bias) in zip(_layers(self._rounded), layers, strict=True)]

    @torch.no_grad()
    def settle(self, batches: Iterable[Tensor]) -> None:
        """Measure what batch norms of each task's own get on batches (E, B, I) of the current one.

        The weights are those of this moment, and each batch is normalised by its own statistics on its way, as in
        training. What is measured is the mean and the variance over all batches together, of each channel.

        Args:
            batches: of one size; none is looked at where nothing is to be measured.

        Source: what `TaskBatchNorm` says; "precise BN" of Wu and Johnson (2021).
        """
        if not self.measured:
            return
        tensors = self.parameters | self.contexts | self.learned
        with watched(self._skeleton) as seen:
            for x_EBI in batches:
                for e, x_BI in enumerate(x_EBI):
                    self._call(self._in_use({name: of_members[e] for name, of_members in tensors.items()}), x_BI)
        for norm, passes in seen.items():
            moments = torch.stack(passes)  # a pass for each batch and member
            mean_EC, variance_EC = total_moments(moments.view(-1, len(self), *moments.shape[1:])).unbind(1)
            self.contexts[f"{norm}.mean"].copy_(mean_EC)
            self.contexts[f"{norm}.variance"].copy_(variance_EC)

    def keep(self, row: int) -> None:
        """Put what was learned and measured so far of `row`, the current one, back into its place in the buffers."""
        for e, contexts in enumerate(self.all_contexts):
            for name, current in self._of_row().items():
                contexts[name][self._drawn(row)] = current[e]

    @torch.no_grad()
    def gradients(self, x_EBI: Tensor | Images, labels_EB: Tensor, *, is_frozen: bool = False) -> Tensor:
        """Find each member's gradients of its mean cross-entropy on its own batch of the current row.

        Args:
            x_EBI: the batches, or of what they are made.
            labels_EB: their labels.
            is_frozen: whether to leave out the shared weights, as nothing trains them.

        Returns:
            The loss in nats, shape (E,).
        """
        if self._mlp and self._by_hand:
            layers, into = self._operands(), _layers(self.parameter_gradients)
            return self._mlp.loss_and_gradients(layers, list(self.contexts.values()), into, x_EBI, labels_EB)
        gradients, loss_E = self._functional_gradients(inputs_of(x_EBI), labels_EB, is_frozen)
        self._write(gradients)
        return loss_E

    @torch.no_grad()
    def mixed_gradients(self, row_EB: Tensor, x_EBI: Tensor, labels_EB: Tensor) -> Tensor:
        """Find the gradients where each image is of a row of its own: of all rows that are learned, too.

        Args:
            row_EB: each image's row of the buffers, int64, on the device alone.
            x_EBI: the batches.
            labels_EB: their labels.

        Returns:
            The loss in nats, shape (E,).
        """

        def loss(trained: Tensors, fixed: Tensors, x_BI: Tensor, targets_B2: Tensor) -> Tensor:
            labels_B, row_B = targets_B2.unbind(-1)
            tensors = trained | fixed
            shared = {name: tensors[name] for name in self.parameters}
            of_rows = {name: tensors[name].index_select(0, row_B) for name in (*self.contexts, *self.learned)}

            def logits(of_row: Tensors, x_I: Tensor) -> Tensor:
                return self._call(shared | of_row, x_I[None])[0]

            return nn.functional.cross_entropy(vmap(logits)(of_rows, x_BI), labels_B)

        targets_EB2 = torch.stack([labels_EB, row_EB], dim=-1)
        trained = self.parameters | self.learned
        gradients, loss_E = self._differentiated(loss, trained, self._fixed_rows, x_EBI, targets_EB2)
        self._write(gradients)
        return loss_E

    def _write(self, gradients: Tensors) -> None:
        places = self.parameter_gradients | self.learned_gradients
        for name, gradient in gradients.items():
            places[name].copy_(gradient)

    @torch.no_grad()
    def gradients_at(
        self, row_E: Tensor, x_EBI: Tensor, targets: Tensor, into_EP: Tensor, *, temperature: float = 1.0
    ) -> Tensor:
        """Find the shared weights' gradients of a loss on other rows than the current one, on the device alone.

        Args:
            row_E: of the buffers, each member's; as they were kept last. Rows must be drawn, not made by a schedule
                that is trained.
            x_EBI: inputs.
            targets: labels (E, B), int64, of which the loss is the mean cross-entropy; or probabilities (E, B, O), of
                which it is `soft_loss`.
            into_EP: in the order of `flat`; the gradients are written there.
            temperature: what logits are divided by before the loss's softmax; 1 where targets are labels.

        Returns:
            The loss in nats, shape (E,).
        """
        rows, is_soft = self._rows_at(row_E), targets.is_floating_point()
        if not self.parameters:  # heads alone, each its task's own
            return x_EBI.new_zeros(len(self))
        if self._mlp and self._by_hand:
            loss = partial(soft_loss, temperature=temperature) if is_soft else softmax_loss
            layers, into = _layers(self.parameters), _layers(self.views(into_EP))
            return self._mlp.loss_and_gradients(layers, list(rows.values()), into, x_EBI, targets, loss)

        def of_member(trained: Tensors, fixed: Tensors, x_BI: Tensor, targets_B: Tensor) -> Tensor:
            return nn.functional.cross_entropy(self._call(trained | fixed, x_BI) / temperature, targets_B)

        gradients, loss_E = self._differentiated(of_member, self.parameters, rows, x_EBI, targets)
        for name, place in self.views(into_EP).items():
            place.copy_(gradients[name])
        return loss_E

    @torch.no_grad()
    def logits_at(self, row_E: Tensor, x_EBI: Tensor, values_EP: Tensor) -> Tensor:
        """Logits (E, B, O) of other weights, in the order of `flat`, under each member's row, as training has them."""
        shared, rows = self.views(values_EP), self._rows_at(row_E)
        if self._mlp and self._by_hand:
            return self._mlp.outputs(_layers(shared), list(rows.values()), x_EBI)
        tensors = shared | rows
        if len(self) == 1:
            return self._call({name: tensor[0] for name, tensor in tensors.items()}, x_EBI[0])[None]
        return vmap(self._call)(tensors, x_EBI)

    @torch.no_grad()
    def layer_inputs(self, x_EBI: Tensor) -> list[Tensor]:
        """What the weights of each shared layer are multiplied by on the current row, bound: (E, B, I) each.

        Of fully connected networks with real contexts of inputs alone.
        """
        context, of_row = self._skeleton.context, self.contexts | self.learned
        assert isinstance(context, Context)
        inputs = list[Tensor]()
        if self._schedule:
            for name, tables in self.learned.items():
                of_row[name] = torch.cat([self._schedule.used(table, self._position_1) for table in tables])
        names = iter(self.parameters)
        for of_weight, of_bias in zip(names, names, strict=True):
            layer = of_weight.removesuffix("weight")
            inputs.append(context.bind(x_EBI, of_row[f"{layer}contexts"]))
            weight, bias = self.parameters[of_weight], self.parameters[of_bias]
            x_EBI = torch.baddbmm(bias[:, None], inputs[-1], weight).relu()
        return inputs

    def _rows_at(self, row_E: Tensor) -> Tensors:
        """What each member's buffers have in a row of its own, by name, (E, ...)."""
        pairs = list(zip(self.all_contexts, torch.split(row_E, 1), strict=True))
        return {
            name: torch.cat([of_member[name].index_select(0, row_1) for of_member, row_1 in pairs])
            for name in (*self.contexts, *self.learned)
        }

    def _functional_gradients(self, x_EBI: Tensor, labels_EB: Tensor, is_frozen: bool) -> tuple[Tensors, Tensor]:
        def loss(trained: Tensors, fixed: Tensors, x_BI: Tensor, labels_B: Tensor) -> Tensor:
            return nn.functional.cross_entropy(self._call(self._in_use(trained | fixed), x_BI), labels_B)

        trained, fixed = self.learned, self.contexts
        if is_frozen:
            fixed = self.parameters | fixed
        else:
            trained = self.parameters | trained
        return self._differentiated(loss, trained, fixed, x_EBI, labels_EB)

    def _differentiated(
        self, loss: Callable[..., Tensor], trained: Tensors, fixed: Tensors, x_EBI: Tensor, targets: Tensor
    ) -> tuple[Tensors, Tensor]:
        """Each member's gradients of what is trained, and its loss (E,)."""
        if len(self) == 1:  # autograd alone costs less
            return _autograd(loss, trained, fixed, x_EBI, targets)
        gradients, loss_E = vmap(grad_and_value(loss))(trained, fixed, x_EBI, targets)
        return gradients, loss_E

    def fisher(self, batches: Iterable[Tensor]) -> Tensor:
        """The diagonal of the shared weights' Fisher information on the current row, (E, P), mean over images.

        F = E_x E_{y ~ p(y|x)} (d log p(y|x) / dw)^2, from the gradient of each image alone and for each answer y as
        often as the network would give it: neither drawn nor taken from labels. Norms have the row's statistics;
        static ones those of the image alone. Products are float32, whatever they are in training.

        Args:
            batches: inputs (E, B, I), at least one batch.

        Source: Kirkpatrick et al. 2017; the exact expectation as in Kunstner et al. 2019, who show what labels in the
            place of answers (the "empirical" Fisher) change.
        """
        return self.importance(batches, Fisher())

    @torch.no_grad()
    def importance(self, batches: Iterable[Tensor], kind: Importance) -> Tensor:
        """What single images tell of the shared weights on the current row, (E, P), mean over images.

        Norms have the row's statistics; static ones those of the image alone. Products are float32.

        Args:
            batches: inputs (E, B, I), at least one batch.
            kind: of which functions of the outputs.
        """
        total = torch.zeros_like(self.flat)
        views = self.views(total)
        if not self.parameters:  # heads alone, each its task's own
            return total
        number = 0
        for x_EBI in batches:
            number += x_EBI.shape[1]
            if self._mlp and self._by_hand and not self._mlp.context.is_complex:
                contexts = list(self.contexts.values())
                self._mlp.add_importance(_layers(self.parameters), contexts, _layers(views), x_EBI, kind)
            else:
                for e, x_BI in enumerate(x_EBI):
                    self._add_importance(e, x_BI, {name: view[e] for name, view in views.items()}, kind)
        return total.div_(number)

    def _add_importance(self, member: int, x_BI: Tensor, into: Tensors, kind: Importance) -> None:
        """Add what each image tells of one member's weights, by autograd."""
        of_row = {name: tensor[member] for name, tensor in (self.contexts | self.learned).items()}

        def functions(shared: Tensors, x_I: Tensor) -> tuple[Tensor, Tensor]:
            logits_BO = self._call(self._in_use(shared | of_row), x_I[None], training=False, dtype=torch.float32)
            values_V, factors_V = kind.functions(logits_BO[0])
            return values_V, factors_V

        shared = {name: parameter[member] for name, parameter in self.parameters.items()}
        for some in torch.split(x_BI, IMPORTANCE_IMAGES):
            jacobians, factors_BV = vmap(jacrev(functions, has_aux=True), in_dims=(None, 0))(shared, some)
            for name, jacobian in jacobians.items():
                into[name].add_(torch.einsum("bv,bv...->...", factors_BV, kind.size(jacobian)))

    def _of_row(self) -> Tensors:
        """Where the current row leaves something behind."""
        return self._learned_by_row() | {name: self.contexts[name] for name in self.measured}

    def _learned_by_row(self) -> Tensors:
        """What is trained of the current row alone."""
        return self.learned if self.trains_rows else {}

    def _drawn(self, row: int) -> int:
        """The row of buffers that no schedule combines."""
        return row // self._schedule.positions_per_context if self._schedule else row

    def _in_use(self, tensors: Tensors) -> Tensors:
        """One member's tensors with the contexts in use now in place of all that they are made of."""
        if not self._schedule:
            return tensors
        return tensors | {name: self._schedule.used(tensors[name], self._position_1)[0] for name in self.learned}

    def _rows(self, member: int, name: str, rows: Sequence[int]) -> Tensor:
        """One member's buffer of these rows, as they are in use."""
        buffer = self.all_contexts[member][name]
        if self._schedule and name in self.learned:
            return self._schedule.used_at(buffer, rows)
        return buffer[_places([self._drawn(row) for row in rows])]

    def _call(
        self, tensors: Tensors, x_BI: Tensor, *, training: bool = True, dtype: torch.dtype | None = None
    ) -> Tensor:
        """The logits of one member with these parameters and rows of its buffers; products in `dtype`, if not its."""
        if self._skeleton.training != training:
            self._skeleton.train(training)
        rows = {name: tensors[name][None] for name in (*self.contexts, *self.learned)}
        dtype = dtype or self.dtype
        with nullcontext() if dtype == torch.float32 else torch.autocast(self.device_type, dtype):
            logits_BO: Tensor = functional_call(self._skeleton, tensors | rows, (x_BI, 0))
        return logits_BO.to(self.flat.dtype)

    @property
    def is_retrievable(self) -> bool:
        """Whether `retrieve` and `logits` can answer for many members and tasks at once."""
        return self._mlp is not None

    @torch.no_grad()
    def logits_of(self, member: int, row: int, x_BI: Tensor, instead: Tensors | None = None) -> Tensor:
        """Logits of one member on a batch: shape (B, O).

        Args:
            member: which.
            row: of its buffers.
            x_BI: the batch.
            instead: parameters that stand in place of the member's, by name.
        """
        return self.network_of(member, row, x_BI, instead)

    def network_of(
        self, member: int, row: int, x_BI: Tensor, instead: Tensors | None = None, *, training: bool = False
    ) -> Tensor:
        """The same with its derivatives; `training` has the batch normalised by its own statistics, not the task's."""
        parameters = {name: parameter[member] for name, parameter in self.parameters.items()} | (instead or {})
        rows = {name: self._rows(member, name, [row])[0] for name in self.all_contexts[member]}
        return self._call(parameters | rows, x_BI, training=training)

    def superposition(self, member: int, num_rows: int, inference: Inferred, num_real: int) -> ContextSuperposition:
        """One member with a mix of its contexts of the first `num_rows` rows, from which rows are inferred."""
        buffers = self.all_contexts[member]
        mixed = {name for name, rows in buffers.items() if rows.numel()} - self.measured  # a stem's may be empty
        tensors = {name: parameter[member] for name, parameter in self.parameters.items()}
        tensors |= {name: rows[0] for name, rows in buffers.items() if name not in mixed}
        return ContextSuperposition(
            lambda contexts, x_BI: self._call(tensors | contexts, x_BI, training=True),
            lambda row, x_BI: self.logits_of(member, row, x_BI),
            {name: rows[:num_rows] for name, rows in buffers.items() if name in mixed},
            inference.objective,
            num_real,
            first_layer_only=inference.first_layer_only,
            questions_at_once=None if self.is_retrievable else 1,
        )

    @property
    def numbers_per_row(self) -> int:
        """How many numbers `retrieve` makes of a row, about."""
        return self.flat.numel() + self.flat_contexts.numel() + self.flat_learned.numel()

    @cached_property
    def _sharing(self) -> list[tuple[int, slice | Tensor]]:
        """Members with the same contexts, and the first of them. On a CPU each alone: caches hold its weights."""
        if self.device_type == "cpu":
            return [(e, slice(e, e + 1)) for e in range(len(self))]
        kinds = [
            tuple(id(buffer) for name, buffer in buffers.items() if name not in self.measured)
            for buffers in self.all_contexts
        ]
        members = {kind: [e for e, other in enumerate(kinds) if other == kind] for kind in kinds}
        return [(some[0], torch.tensor(some, device=self._device)) for some in members.values()]

    def views(self, values_EP: Tensor) -> Tensors:
        """Numbers in the order of `flat` by the names of the shared weights, (E, ...) each."""
        return named_views({name: p.shape[1:] for name, p in self.parameters.items()}, values_EP)

    def retrieve(self, rows: Sequence[int], instead: Tensors | None = None) -> list[Layer]:
        """Every member's weights and biases of each of T rows, layer by layer: (E * T, ...), member first.

        Args:
            rows: of buffers.
            instead: parameters of all members that stand in place of theirs, by name, (E, ...).
        """
        assert self._mlp, "only superposed networks are retrieved so far"
        context, retrieved = self._mlp.context, []
        rounds = self.dtype != torch.float32 and has_kernels(self._device)  # once, not in each product
        for index, (weight, bias) in enumerate(_layers(instead or self.parameters)):
            size = (len(self), len(rows), *weight.shape[1:])
            weights = weight.new_empty(size, dtype=self.dtype if rounds else weight.dtype)
            for first, members in self._sharing:
                of_layer = self._rows(first, list(self.all_contexts[first])[index], rows)
                # Contexts meet inputs alone: members that share them are one layer with all their outputs.
                wide = weight[members].movedim(0, -2).flatten(-2)
                found = context.retrieve(wide.expand(len(rows), *wide.shape), of_layer)
                weights[members] = found.view(*found.shape[:-1], -1, weight.shape[-1]).movedim(-2, 0)
            retrieved.append((weights.flatten(0, 1), bias.repeat_interleave(len(rows), 0)))
        return retrieved

    @torch.no_grad()
    def logits(self, retrieved: Sequence[Layer], x_MBI: Tensor) -> Tensor:
        """Logits of M retrieved networks, each on its own batch: shape (M, O, B)."""
        assert self._mlp, "only superposed networks are retrieved so far"
        return self._mlp.logits(retrieved, x_MBI)

    def member_state(self, member: int) -> dict[str, Any]:
        """What training has changed of one member: shared weights, and the rows of buffers trained or measured."""
        buffers = self.all_contexts[member]
        return {
            "parameters": self.flat[member],
            "contexts": {name: buffers[name] for name in (*self.learned, *self.measured)},
        }

    def load_member_state(self, member: int, state: dict[str, Any]) -> None:
        """Go on from what `member_state` gave, here or in a pack whose stream has fewer tasks."""
        self.flat[member].copy_(state["parameters"])
        for name, rows in state["contexts"].items():
            self.all_contexts[member][name][: len(rows)].copy_(rows)


def _by_hand(model: nn.Module, dtype: torch.dtype) -> PackedMLP | None:
    """What finds gradients of such networks by hand, where their contexts are fixed, and answers for retrieved ones."""
    if isinstance(model, SuperposedMLP) and not model.trained_buffers() and not model.has_output_contexts():
        return PackedMLP(model.context, dtype)
    return None


def _autograd(
    loss: Callable[..., Tensor], trained: Tensors, fixed: Tensors, x_EBI: Tensor, labels_EB: Tensor
) -> tuple[Tensors, Tensor]:
    """What `vmap(grad_and_value(loss))` gives for a pack of one."""
    with torch.enable_grad():
        leaves = {name: p[0].detach().requires_grad_() for name, p in trained.items()}
        value = loss(leaves, {name: f[0] for name, f in fixed.items()}, x_EBI[0], labels_EB[0])
        gradients = torch.autograd.grad(value, list(leaves.values()))
    return {name: g[None] for name, g in zip(leaves, gradients, strict=True)}, value.detach()[None]


def _layers(tensors: Tensors) -> list[Layer]:
    """The weights and biases of a superposed network, in the order of its layers."""
    values = iter(tensors.values())
    return list(zip(values, values, strict=True))


def _places(rows: list[int]) -> slice | list[int]:
    """Rows, as a slice where they lie at equal distances: their numbers then need not be copied."""
    step = rows[1] - rows[0] if len(rows) > 1 else 1
    if step > 0 and rows == list(range(rows[0], rows[-1] + 1, step)):
        return slice(rows[0], rows[-1] + 1, step)
    return rows


def _moved(tensors: Sequence[Tensors], device: torch.device) -> list[Tensors]:
    """The same tensors on `device`; what is shared stays shared."""
    moved = {id(t): t.to(device) for members in tensors for t in members.values()}
    return [{name: moved[id(t)] for name, t in members.items()} for members in tensors]

"""Packs of networks with supermasks: frozen weights, and a mask for each task, found by training scores."""

from collections.abc import Collection, Iterable, Sequence
from math import prod
from typing import Any

import torch
from torch import Tensor

from psp_core.convolutions import SuperposedConv2d
from psp_core.models import SuperposedModel
from psp_core.packed_mlp import Layer
from psp_core.packing import Batch, Pack, Tensors, flat_views
from psp_core.randomness import generator
from psp_core.supermasks.masks import (
    erdos_renyi_density,
    mask_gradient,
    threshold_mask,
    threshold_score_gradient,
    top_k_mask,
    top_k_score_gradient,
)
from psp_core.supermasks.module_superposition import ModuleSuperposition
from psp_core.supermasks.store import MaskStore
from psp_core.supermasks.superposition import Superposition
from psp_core.supermasks.weights import FROZEN_WEIGHTS, score_init
from psp_core.task_inference import TaskInference
from psp_core.trial import TrialConfig

# E members, T tasks, A questions, B batch, I inputs, O outputs, P weights of one member


class SupermaskPack:
    """E networks without biases, whose weights never change: task k's are V = W * M(k).

    What is trained are the scores of the current task's masks; when the task ends, its masks are kept as bits
    and the scores are not. They begin anew for each task, or where `transfer` says. With heads for each task the last
    layer has no mask: each task's own weights and biases are trained beside the scores. Trains, measures and is
    saved as a `Pack` is, and has one that runs the networks: the masked weights are its parameters.

    Args:
        configs: the members' configurations.
        models: their networks, with context `none`; what weights they begin with does not matter.
        device: where everything is kept.

    Attributes:
        flat, flat_gradients: what all tasks share and train: nothing, (E, 0).
        flat_learned, flat_learned_gradients: the current task's scores and head, if any, and their gradients, (E, P).
        stores: each member's masks.

    Source: paper B, sections 3.1 and 3.2 (papers.md, B4).
    """

    is_frozen = False  # there is nothing that all tasks train

    def __init__(self, configs: Sequence[TrialConfig], models: Sequence[SuperposedModel], device: torch.device) -> None:
        """Draw the frozen weights: they depend on the seed alone."""
        self.config, self.configs, self.device = configs[0], list(configs), device
        self._networks = Pack(models, device, learned=models[0].trained_buffers())
        self._used = {name: p for name, p in self._networks.parameters.items() if name.endswith("weight")}
        self.sizes = [(p.shape[1], p.shape[2]) for p in self._used.values()]
        self._densities = [_density(models[0], name, self.config.sparsity) for name in self._used]
        num_members = len(configs)
        self.flat = torch.zeros(num_members, 0, device=device)
        self.flat_gradients = torch.zeros_like(self.flat)
        self.flat_contexts = self._networks.flat_contexts
        shapes = {name: torch.Size(size) for name, size in zip(self._used, self.sizes, strict=True)}
        shapes |= {name: head.shape[1:] for name, head in self._networks.learned.items()}
        self.flat_learned, self._trained = flat_views(shapes, num_members, device)
        self.flat_learned_gradients, self._gradients = flat_views(shapes, num_members, device)
        self._scores = {name: self._trained[name] for name in self._used}
        self._transferred = torch.zeros_like(self.flat_learned) if self.config.transfer != "random" else None
        draw = FROZEN_WEIGHTS[self.config.frozen_weights]
        self.weights = [
            torch.stack([draw(*size, generator(config.seed, "frozen weights", index)) for config in configs]).to(device)
            for index, size in enumerate(self.sizes)
        ]
        self.stores = [MaskStore(self.sizes, self.config.num_tasks, device) for _ in configs]
        self.num_params = self.bytes_once = 0  # frozen weights are a seed
        statistics = [self._networks.contexts[name] for name in self._networks.measured]
        numbers = sum(of_task[0].numel() for of_task in (*statistics, *self._networks.learned.values()))
        self.bytes_per_task = self.stores[0].bytes_per_task + 4 * numbers

    def __len__(self) -> int:
        """E, the number of members."""
        return len(self.configs)

    def begin(self, task: int, batch: Batch | None = None) -> Collection[int]:
        """Give `task` scores, drawn or transferred from the tasks before, and its head as it was drawn."""
        if self._transferred is not None and task > 0:
            self.flat_learned.copy_(self._transferred)
        else:
            self._draw(self.configs, self._scores, task)
        members = self._networks.begin(task)
        for name, head in self._networks.learned.items():
            self._trained[name].copy_(head)
        return members

    @torch.no_grad()
    def gradients(self, x_EBI: Tensor, labels_EB: Tensor) -> Tensor:
        """Each member's loss (E,); the gradients of its scores go straight through the masks."""
        self._use()
        loss_E = self._networks.gradients(x_EBI, labels_EB)
        top_k = self.config.masks == "top-k"
        for (name, scores), weight in zip(self._scores.items(), self.weights, strict=True):
            of_mask = mask_gradient(self._networks.parameter_gradients[name], weight)
            of_scores = top_k_score_gradient(of_mask, scores) if top_k else threshold_score_gradient(of_mask)
            self._gradients[name].copy_(of_scores)
        for name, gradient in self._networks.learned_gradients.items():
            self._gradients[name].copy_(gradient)
        return loss_E

    @torch.no_grad()
    def settle(self, batches: Iterable[Tensor]) -> None:
        """Measure what batch norms keep of the current task, with its masks as they are now; see `Pack.settle`."""
        if self._networks.measured:
            self._use()
            self._networks.settle(batches)

    def keep(self, task: int) -> None:
        """Keep the masks that `task`, the current one, has by now, as bits, and its head."""
        masks = self._masks(self._scores)
        for e, store in enumerate(self.stores):
            of_member = [mask[e] for mask in masks]
            if task < len(store):
                store.replace(task, of_member)
            else:
                assert store.append(of_member) == task, "tasks are stored in order"
        self._use_head()
        self._networks.keep(task)

    def end(self, task: int) -> None:
        """Keep the masks of `task`, whose training ends."""
        self.keep(task)
        if self._transferred is not None:
            of_this = 1.0 if self.config.transfer == "previous" else 1 / (task + 1)
            self._transferred.lerp_(self.flat_learned, of_this)

    @property
    def is_retrievable(self) -> bool:
        """Whether `retrieve` and `logits` can answer for many members and tasks at once."""
        return self._networks.is_retrievable

    def retrieve(self, tasks: Sequence[int]) -> list[Layer]:
        """Every member's weights of each of T tasks, layer by layer, (E * T, I, O), member first; no biases."""
        return self._retrieved([(member, task) for member in range(len(self)) for task in tasks])

    def _retrieved(self, wanted: Sequence[tuple[int, int]]) -> list[Layer]:
        """The weights of M networks, each a member's with one of its masks."""
        members = torch.tensor([member for member, _ in wanted], device=self.device)
        masks = [self.stores[member].mask(mask) for member, mask in wanted]
        return [
            (torch.stack([mask[index] for mask in masks]).mul_(weight[members]), weight.new_zeros(len(masks), size[1]))
            for index, (weight, size) in enumerate(zip(self.weights, self.sizes, strict=True))
        ]

    def logits(self, retrieved: Sequence[Layer], x_MBI: Tensor) -> Tensor:
        """Logits of M retrieved networks, each on its own batch: shape (M, O, B)."""
        return self._networks.logits(retrieved, x_MBI)

    def logits_of(self, member: int, task: int, x_BI: Tensor) -> Tensor:
        """Logits of one member on one task's batch: shape (B, O)."""
        return self._networks.logits_of(member, task, x_BI, self._masked(member, task))

    def _masked(self, member: int, mask: int) -> Tensors:
        """One member's weights with one of its masks, by name."""
        masks = self.stores[member].mask(mask)
        return {name: m.mul_(weight[member]) for name, m, weight in zip(self._used, masks, self.weights, strict=True)}

    def infer(self, member: int, x_ABI: Tensor, num_seen: int) -> Tensor:
        """Which of the tasks stored so far, `num_seen`, each of A batches is of, by all of its images: int64 (A,)."""
        assert num_seen == len(self.stores[member])
        return TaskInference.for_trial(self.config).algorithm(self._superposition(member), x_ABI)

    def answer_of(self, member: int, row: int) -> int:
        """What `infer` should answer to batches of a row's task, and `logits_of` be given for them."""
        return row

    def _superposition(self, member: int) -> Superposition:
        inference, store = TaskInference.for_trial(self.config), self.stores[member]
        weights = [weight[member] for weight in self.weights]
        if self._networks.is_retrievable:
            return Superposition(weights, store, inference.objective, inference.num_real)

        def mixed(weights: Sequence[Tensor], x_BI: Tensor) -> Tensor:
            instead = dict(zip(self._used, weights, strict=True))
            return self._networks.network_of(member, 0, x_BI, instead, training=True)

        def own(mask: int, x_BI: Tensor) -> Tensor:
            return self.logits_of(member, mask, x_BI)

        return ModuleSuperposition(mixed, own, weights, store, inference.objective, inference.num_real)

    def finite(self) -> Tensor:
        """Of which members everything that is trained is finite, shape (E,)."""
        return self.flat_learned.isfinite().all(dim=1)

    def notes(self, member: int) -> dict[str, float]:
        """Bytes of a mask as the paper counts them, mean over the tasks stored."""
        store = self.stores[member]
        return {"csc_bytes_per_task": store.csc_bytes / len(store)} if len(store) else {}

    def member_state(self, member: int) -> dict[str, Any]:
        """What tasks have left behind of one member: their masks, and what scores are transferred."""
        return {
            "masks": self.stores[member].state_dict(),
            "transferred": None if self._transferred is None else self._transferred[member],
            "networks": self._networks.member_state(member),
        }

    def load_member_state(self, member: int, state: dict[str, Any]) -> None:
        """Go on from what `member_state` gave, here or in a pack whose stream has fewer tasks."""
        self.stores[member].load_state_dict(state["masks"])
        if self._transferred is not None:
            self._transferred[member].copy_(state["transferred"])
        self._networks.load_member_state(member, state["networks"])

    def _use(self) -> None:
        """Give the networks the current task's weights."""
        masks = self._masks(self._scores)
        for used, mask, weight in zip(self._used.values(), masks, self.weights, strict=True):
            torch.mul(mask, weight, out=used)
        self._use_head()

    def _use_head(self) -> None:
        """Give the networks the current task's head as the last step left it, if it has one."""
        for name, head in self._networks.learned.items():
            head.copy_(self._trained[name])

    def _draw(self, configs: Sequence[TrialConfig], scores: Tensors, number: int) -> None:
        """Scores that mask `number` of each of these members begins with."""
        for index, of_layer in enumerate(scores.values()):
            for e, config in enumerate(configs):
                of_layer[e] = score_init(*self.sizes[index], generator(config.seed, "scores", number, index))

    def _masks(self, scores: Tensors) -> list[Tensor]:
        """The masks that scores stand for, layer by layer."""
        if self.config.masks == "threshold":
            return [threshold_mask(of_layer) for of_layer in scores.values()]
        return [
            top_k_mask(of_layer, density) for of_layer, density in zip(scores.values(), self._densities, strict=True)
        ]


def _density(model: SuperposedModel, name: str, sparsity: float | None) -> float:
    """The share of a layer's weights that top-k masks keep; 1 where there are none."""
    if sparsity is None:
        return 1.0
    layer = model.get_submodule(name.removesuffix(".weight"))
    inputs, outputs = model.get_parameter(name).shape
    kernel = prod(layer.filter_shape[1:]) if isinstance(layer, SuperposedConv2d) else 1
    return erdos_renyi_density(sparsity, inputs // kernel, outputs, kernel)

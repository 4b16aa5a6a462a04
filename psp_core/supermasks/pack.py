"""Packs of networks with supermasks: frozen weights, and a mask for each task, found by training scores."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from psp_core.contexts import get_context
from psp_core.packed_mlp import Layer, PackedMLP
from psp_core.packing import flat_views
from psp_core.randomness import generator
from psp_core.supermasks.masks import (
    erdos_renyi_density,
    mask_gradient,
    threshold_mask,
    threshold_score_gradient,
    top_k_mask,
    top_k_score_gradient,
)
from psp_core.supermasks.store import MaskStore
from psp_core.supermasks.superposition import Superposition
from psp_core.supermasks.weights import FROZEN_WEIGHTS, score_init
from psp_core.task_inference import TaskInference
from psp_core.trial import TrialConfig

# E members, T tasks, A questions, B batch, I inputs, O outputs, P weights of one member


class SupermaskPack:
    """E networks without biases, whose weights never change: task k's are V = W * M(k).

    What is trained are the scores of the current task's masks, drawn anew for each task; when the task ends,
    its masks are kept as bits and the scores are not. Trains, measures and is saved as a `Pack` is.

    Attributes:
        flat, flat_gradients: what all tasks share and train: nothing, (E, 0).
        flat_learned, flat_learned_gradients: the current task's scores and their gradients, (E, P).
        stores: each member's masks.

    Source: paper B, sections 3.1 and 3.2 (papers.md, B4).
    """

    is_retrievable = True

    def __init__(self, configs: Sequence[TrialConfig], device: torch.device) -> None:
        """Draw the frozen weights: they depend on the seed alone."""
        self.config, self.configs, self.device = configs[0], list(configs), device
        self.sizes = [(layer.inputs, layer.outputs) for layer in self.config.layers]
        num_members = len(configs)
        self.flat = torch.zeros(num_members, 0, device=device)
        self.flat_gradients = torch.zeros_like(self.flat)
        self.flat_contexts = torch.zeros_like(self.flat)
        shapes = {str(index): torch.Size(size) for index, size in enumerate(self.sizes)}
        self.flat_learned, self._scores = flat_views(shapes, num_members, device)
        self.flat_learned_gradients, self._gradients = flat_views(shapes, num_members, device)
        draw = FROZEN_WEIGHTS[self.config.frozen_weights]
        self.weights = [
            torch.stack([draw(*size, generator(config.seed, "frozen weights", index)) for config in configs]).to(device)
            for index, size in enumerate(self.sizes)
        ]
        self.stores = [MaskStore(self.sizes, self.config.num_tasks, device) for _ in configs]
        self._mlp = PackedMLP(get_context("none"))
        self._of_weights = [torch.empty_like(weight) for weight in self.weights]
        self._biases = [torch.zeros(num_members, size[1], device=device) for size in self.sizes]
        self.num_params = self.bytes_once = 0  # frozen weights are a seed
        self.bytes_per_task = self.stores[0].bytes_per_task
        self._no_contexts = [torch.zeros(num_members, 0, device=device) for _ in self.sizes]

    def __len__(self) -> int:
        """E, the number of members."""
        return len(self.configs)

    def begin(self, task: int) -> None:
        """Draw the scores of `task`."""
        for index, scores in enumerate(self._scores.values()):
            for e, config in enumerate(self.configs):
                scores[e] = score_init(*self.sizes[index], generator(config.seed, "scores", task, index))

    @torch.no_grad()
    def gradients(self, x_EBI: Tensor, labels_EB: Tensor) -> Tensor:
        """Each member's loss (E,); the gradients of its scores go straight through the masks."""
        scores = list(self._scores.values())
        layers = [
            (mask.mul_(weight), bias)
            for mask, weight, bias in zip(self._masks(scores), self.weights, self._biases, strict=True)
        ]
        into = [
            (gradient, torch.empty_like(bias)) for gradient, bias in zip(self._of_weights, self._biases, strict=True)
        ]
        loss_E = self._mlp.loss_and_gradients(layers, self._no_contexts, into, x_EBI, labels_EB)
        for index, gradient in enumerate(self._gradients.values()):
            of_mask = mask_gradient(self._of_weights[index], self.weights[index])
            top_k = self.config.masks == "top-k"
            gradient.copy_(top_k_score_gradient(of_mask, scores[index]) if top_k else threshold_score_gradient(of_mask))
        return loss_E

    def end(self, task: int) -> None:
        """Keep the masks of `task`, the current one, as bits."""
        masks = self._masks(list(self._scores.values()))
        for e, store in enumerate(self.stores):
            assert store.append([mask[e] for mask in masks]) == task, "tasks are stored in order, each once"

    def retrieve(self, tasks: Sequence[int]) -> list[Layer]:
        """Every member's weights of each of T tasks, layer by layer, (E * T, I, O), member first; no biases."""
        return self._networks([(member, task) for member in range(len(self)) for task in tasks])

    @torch.no_grad()
    def logits(self, retrieved: Sequence[Layer], x_MBI: Tensor) -> Tensor:
        """Logits of M retrieved networks, each on its own batch: shape (M, O, B)."""
        return self._mlp.logits(retrieved, x_MBI)

    @torch.no_grad()
    def logits_of(self, member: int, task: int, x_BI: Tensor) -> Tensor:
        """Logits of one member on one task's batch: shape (B, O)."""
        return self.logits(self._networks([(member, task)]), x_BI[None])[0].T

    def infer(self, member: int, x_ABI: Tensor, num_seen: int) -> Tensor:
        """Which of the tasks stored so far, `num_seen`, each of A batches is of, by all of its images: int64 (A,)."""
        assert num_seen == len(self.stores[member])
        inference = TaskInference.for_trial(self.config)
        weights = [weight[member] for weight in self.weights]
        superposition = Superposition(weights, self.stores[member], inference.objective, inference.num_real)
        return inference.algorithm(superposition, x_ABI)

    def finite(self) -> Tensor:
        """Of which members everything that is trained is finite, shape (E,)."""
        return self.flat_learned.isfinite().all(dim=1)

    def state_dict(self) -> dict[str, Any]:
        """What tasks have left behind: their masks."""
        return {"masks": [store.state_dict() for store in self.stores]}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from what `state_dict` gave."""
        for store, stored in zip(self.stores, state["masks"], strict=True):
            store.load_state_dict(stored)

    def _networks(self, wanted: Sequence[tuple[int, int]]) -> list[Layer]:
        """The weights of M networks, each a member's of one task, layer by layer; no biases."""
        masks = [self.stores[member].mask(task) for member, task in wanted]
        members = torch.tensor([member for member, _ in wanted], device=self.device)
        return [
            (torch.stack([mask[index] for mask in masks]).mul_(weight[members]), bias[members])
            for index, (weight, bias) in enumerate(zip(self.weights, self._biases, strict=True))
        ]

    def _masks(self, scores: Sequence[Tensor]) -> list[Tensor]:
        if self.config.masks == "threshold":
            return [threshold_mask(of_layer) for of_layer in scores]
        assert self.config.sparsity
        densities = [erdos_renyi_density(self.config.sparsity, *size) for size in self.sizes]
        return [top_k_mask(of_layer, density) for of_layer, density in zip(scores, densities, strict=True)]

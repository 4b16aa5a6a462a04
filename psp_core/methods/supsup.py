"""Paper B's networks: frozen weights, and a mask for each task, found by training scores."""

from collections.abc import Collection, Sequence
from functools import partial
from math import prod
from typing import Any, Literal

import torch
from torch import Tensor

from psp_core.ahead import drawn_for
from psp_core.contexts import get_context
from psp_core.convolutions import SuperposedConv2d
from psp_core.course import Course
from psp_core.evaluation import Answerer, Finders
from psp_core.flat_views import Tensors, flat_views
from psp_core.groups import Group, Stretch
from psp_core.images import StepBatch
from psp_core.inference import Inference, Inferred
from psp_core.methods.base import Learner, Storage, network_size, num_outputs
from psp_core.methods.shared_settings import heads_setting, inference_setting, superfluous_setting
from psp_core.methods.superposed import SETTLING_BATCHES
from psp_core.methods.supsup_settings import SupermaskSettings
from psp_core.models import Heads, Model, SuperposedModel, TaskParts
from psp_core.networks import Networks
from psp_core.packed_mlp import Layer
from psp_core.parts import setting
from psp_core.randomness import different, generator
from psp_core.supermasks.mask_table import MaskTable, layers_packed
from psp_core.supermasks.masks import mask_gradient
from psp_core.supermasks.module_superposition import ModuleSuperposition
from psp_core.supermasks.superposition import Superposition
from psp_core.supermasks.weights import score_init
from psp_core.together import drawn_together

# E members, U different seeds of theirs, T tasks, A questions, B batch, I inputs, O outputs, P weights of one member


class Supsup(SupermaskSettings, name="supsup"):
    """Weights are random and never change; each task has a mask of them, which its images can tell.

    Source: paper B, sections 3.1 and 3.2 (papers.md, B4).
    """

    transfer: Literal["random", "previous", "running-mean"] = setting(
        "random",
        "What a task's scores begin with: `random` ones, the `previous` task's as they ended, or the `running-mean` of "
        "all tasks' so far.",
        column="transfer",
        label=", {} scores",
    )
    heads: Heads = heads_setting()
    inference: Inference = inference_setting()
    superfluous: int = superfluous_setting()

    def start(self, trials: Sequence[Course], device: torch.device) -> Learner:
        """The networks as they are drawn."""
        return SupermaskLearner(trials, device)

    def check(self, trial: Course) -> None:
        """Refuse tasks that come back, and heads where masks are mixed."""
        super().check(trial)
        if trial.num_cycles > 1:
            raise ValueError(
                f"num_cycles={trial.num_cycles}: method='supsup' trains each mask once; use one cycle, or give "
                "new_mask_eps."
            )
        if self.heads == "shared":
            return
        if len(self.layers(trial)) == 1:
            raise ValueError(
                "heads='per-task' at depth=0: method='supsup' has no layer left that masks could choose from; give a "
                "depth."
            )
        if self.superfluous or not self.inference.is_given:
            raise ValueError(
                f"superfluous={self.superfluous}, task_inference={self.inference.name!r} with heads='per-task': a task "
                "is inferred from a mix of masks in every layer, the last one's too; use shared heads, or leave both "
                "out."
            )


class SupermaskLearner(Learner, Finders):
    """E networks without biases, whose weights never change: task k's are V = W * M(k).

    What is trained are the scores of the current task's masks; when the task ends, its masks are kept as bits
    and the scores are not. They begin anew for each task, or where `transfer` says. With heads for each task the last
    layer has no mask: each task's own weights and biases are trained beside the scores.

    Attributes:
        groups: what all tasks train, nothing; and the current task's scores and head, if any.
        tables: each member's masks.
        weights: the frozen weights of each layer, (E, I, O).
    """

    def __init__(self, trials: Sequence[Course], device: torch.device) -> None:
        """Draw the frozen weights: they depend on the seed alone."""
        self.trials, self.trial, self.device = trials, trials[0], device
        self.part = self.trial.of(SupermaskSettings)
        models = drawn_together([partial(_build, trial, self.part, device) for trial in trials], device)
        self._networks = Networks(models, device, learned=models[0].trained_buffers())
        self._used = {name: p for name, p in self._networks.parameters.items() if name.endswith("weight")}
        self.sizes = [(p.shape[1], p.shape[2]) for p in self._used.values()]
        self._densities = [_density(models[0], name, self.part) for name in self._used]
        shapes = {name: torch.Size(size) for name, size in zip(self._used, self.sizes, strict=True)}
        shapes |= {name: head.shape[1:] for name, head in self._networks.learned.items()}
        self._own, self._trained = flat_views(shapes, len(trials), device)
        gradients, self._gradients = flat_views(shapes, len(trials), device)
        nothing = torch.zeros(len(trials), 0, device=device)
        self.groups = [
            Group(values_EP=nothing, gradients_EP=nothing.clone()),
            Group(values_EP=self._own, gradients_EP=gradients, lives="stretch"),
        ]
        self._scores = {name: self._trained[name] for name in self._used}
        self._transferred = torch.zeros_like(self._own) if self.part.transfer != "random" else None
        seeds, seed_of_E = different([trial.seed for trial in trials])
        self._seed_of_E = torch.tensor(seed_of_E, device=device)
        end = self.trial.num_tasks if self._transferred is None else 1
        self._first_scores = drawn_for(device, partial(_scores_of_seeds, self.sizes, seeds), end)
        draw = self.part.frozen_weights.draw
        self.weights = [
            torch.stack([draw(*size, generator(seed, "frozen weights", index)) for seed in seeds])
            .to(device)
            .index_select(0, self._seed_of_E)
            for index, size in enumerate(self.sizes)
        ]
        self.tables = [MaskTable(self.sizes, self.part.num_masks(self.trial), device) for _ in trials]
        statistics = [self._networks.contexts[name] for name in self._networks.measured]
        numbers = sum(of_task[0].numel() for of_task in (*statistics, *self._networks.learned.values()))
        storage = Storage(bytes_per_task=self.tables[0].bytes_per_task + 4 * numbers)  # frozen weights are a seed
        self.storage = [storage] * len(trials)
        self.is_retrievable = self._networks.is_retrievable
        self.numbers_per_task = self._networks.flat_contexts.numel() + self._own.numel()

    def begin(self, stretch: Stretch) -> Collection[int]:
        """Give the task scores, drawn or transferred from the tasks before, and its head as it was drawn."""
        if self._transferred is not None and stretch.task > 0:
            self._own.copy_(self._transferred)
        else:
            for of_layer, of_seeds in zip(self._scores.values(), self._first_scores(stretch.task), strict=True):
                of_layer.copy_(of_seeds.to(self.device, non_blocking=True).index_select(0, self._seed_of_E))
        self._networks.begin(stretch.row)
        for name, head in self._networks.learned.items():
            self._trained[name].copy_(head)
        return range(len(self.trials))

    @torch.no_grad()
    def gradients(self, batch: StepBatch) -> Tensor:
        """Each member's loss (E,); the gradients of its scores go straight through the masks."""
        self._use()
        loss_E = self._networks.gradients(*batch)
        for (name, scores), weight in zip(self._scores.items(), self.weights, strict=True):
            of_mask = mask_gradient(self._networks.parameter_gradients[name], weight)
            self._gradients[name].copy_(self.part.masks.score_gradient(of_mask, scores))
        for name, gradient in self._networks.learned_gradients.items():
            self._gradients[name].copy_(gradient)
        return loss_E

    @torch.no_grad()
    def settle(self, stretch: Stretch) -> None:
        """Measure what batch norms keep of the current task, with its masks as they are now."""
        if self._networks.measured:
            self._use()
            self._networks.settle(x_EBI for x_EBI, _ in stretch.recent(SETTLING_BATCHES))

    def keep(self, stretch: Stretch) -> None:
        """Keep the masks that the current task has by now, as bits, and its head."""
        masks = self._masks(self._scores)
        for e, (table, bits) in enumerate(zip(self.tables, layers_packed(masks), strict=True)):
            of_member = [mask[e] for mask in masks]
            if stretch.task < len(table):
                table.replace(stretch.task, of_member, bits)
            else:
                assert table.append(of_member, bits) == stretch.task, "tasks are stored in order"
        self._use_head()
        self._networks.keep(stretch.row)

    def end(self, stretch: Stretch) -> None:
        """Keep the masks of the current task; and its scores, where later ones begin with them."""
        self.keep(stretch)
        if self._transferred is not None:
            of_this = 1.0 if self.part.transfer == "previous" else 1 / (stretch.task + 1)
            self._transferred.lerp_(self._own, of_this)

    def answerer(self, num_begun: int) -> Answerer:
        """Each task's mask answers; or the one that is inferred."""
        return self.part.answerer(self)

    def retrieve(self, tasks: Sequence[int]) -> list[Layer]:
        """Every member's weights of each of T tasks, layer by layer, (E * T, I, O), member first; no biases."""
        wanted = [(member, self.right(member, task)) for member in range(len(self.trials)) for task in tasks]
        members = torch.tensor([member for member, _ in wanted], device=self.device)
        masks = self.tables[0].unpack(torch.stack([self.tables[member].bits(mask) for member, mask in wanted]))
        return [
            (of_layer.mul_(weight.index_select(0, members)), weight.new_zeros(len(wanted), size[1]))
            for of_layer, weight, size in zip(masks, self.weights, self.sizes, strict=True)
        ]

    def logits(self, retrieved: Sequence[Layer], x_MBI: Tensor) -> Tensor:
        """Logits of M retrieved networks, each on its own batch: shape (M, O, B)."""
        return self._networks.logits(retrieved, x_MBI)

    def answer(self, member: int, task: int, x_BI: Tensor) -> Tensor:
        """Logits of one member with the task's mask: shape (B, O)."""
        return self.answer_as(member, self.right(member, task), x_BI)

    def answer_as(self, member: int, found: int, x_BI: Tensor) -> Tensor:
        """Logits of one member with one of its masks, and with the head and statistics of its row: shape (B, O)."""
        row = found % self.trial.num_tasks  # NNs have more masks than tasks, and nothing in rows
        return self._networks.logits_of(member, row, x_BI, self._masked(member, found))

    def _masked(self, member: int, found: int) -> Tensors:
        """One member's weights under one of its masks, by name."""
        pairs = zip(self.tables[member].mask(found), self.weights, strict=True)
        return {name: mask.mul_(weight[member]) for name, (mask, weight) in zip(self._used, pairs, strict=True)}

    def find(self, member: int, x_ABI: Tensor) -> Tensor:
        """Which of the masks stored so far each of A batches is of, by all of its images: int64 (A,)."""
        assert isinstance(self.part.inference, Inferred)
        return self.part.inference.find(self.superposition(member), x_ABI)

    def superposition(self, member: int) -> Superposition:
        """One member with all its masks at once."""
        inference, table = self.part.inference, self.tables[member]
        assert isinstance(inference, Inferred)
        num_real, weights = num_outputs(self.trial), [weight[member] for weight in self.weights]
        if self._networks.is_retrievable:
            return Superposition(weights, table, inference.objective, num_real)

        def mixed(weights: Sequence[Tensor], x_BI: Tensor) -> Tensor:
            instead = dict(zip(self._used, weights, strict=True))
            return self._networks.network_of(member, 0, x_BI, instead, training=True)

        def own(mask: int, x_BI: Tensor) -> Tensor:
            return self.answer_as(member, mask, x_BI)

        return ModuleSuperposition(mixed, own, weights, table, inference.objective, num_real)

    def notes(self, member: int) -> dict[str, float]:
        """Bytes of a mask as the paper counts them, mean over the tasks stored."""
        table = self.tables[member]
        return {"csc_bytes_per_task": table.csc_bytes / len(table)} if len(table) else {}

    def member_state(self, member: int) -> dict[str, Any]:
        """What tasks have left behind of one member: their masks, and what scores are transferred."""
        return {
            "masks": self.tables[member].state_dict(),
            "transferred": None if self._transferred is None else self._transferred[member],
            "networks": self._networks.member_state(member),
        }

    def load_member_state(self, member: int, state: dict[str, Any]) -> None:
        """Go on from what `member_state` gave."""
        self.tables[member].load_state_dict(state["masks"])
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

    def _masks(self, scores: Tensors) -> list[Tensor]:
        """The masks that scores stand for, layer by layer."""
        pairs = zip(scores.values(), self._densities, strict=True)
        return [self.part.masks.mask(of_layer, density) for of_layer, density in pairs]


def _build(trial: Course, part: SupermaskSettings, device: torch.device) -> SuperposedModel:
    """The network whose weights are replaced by frozen ones, without contexts."""
    parts = TaskParts(
        context=get_context("none"),
        num_tasks=trial.num_tasks,
        seed=trial.seed,
        heads=part.heads,
        device=device,
    )
    return trial.of(Model).build(network_size(trial, part.extra_outputs), parts)


def drawn_scores(sizes: Sequence[tuple[int, int]], seed: int, mask: int) -> list[Tensor]:
    """Scores that a member's mask begins with, layer by layer."""
    return [score_init(*size, generator(seed, "scores", mask, index)) for index, size in enumerate(sizes)]


def _scores_of_seeds(sizes: Sequence[tuple[int, int]], seeds: Sequence[int], mask: int) -> list[Tensor]:
    """The same of each seed, (U, I, O)."""
    return [torch.stack(of_layer) for of_layer in zip(*(drawn_scores(sizes, s, mask) for s in seeds), strict=True)]


def _density(model: SuperposedModel, name: str, part: SupermaskSettings) -> float:
    """The share of a layer's weights that its masks keep, where scores leave it open."""
    layer = model.get_submodule(name.removesuffix(".weight"))
    inputs, outputs = model.get_parameter(name).shape
    kernel = prod(layer.filter_shape[1:]) if isinstance(layer, SuperposedConv2d) else 1
    return part.masks.density(inputs // kernel, outputs, kernel)

"""HAT, hard attention to the task: each task learns which hidden units it uses, and later tasks leave these alone."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from functools import partial
from types import MappingProxyType
from typing import Any, ClassVar, Final

import torch
from torch import Tensor

from psp_core.contexts.base import Context
from psp_core.contexts.diagonal import Diagonal
from psp_core.contexts.xdg import OpenGates
from psp_core.cost import Cost, num_activations, num_state, num_weights, products, step_products
from psp_core.course import Course
from psp_core.devices import PRECISIONS
from psp_core.evaluation import Answerer, Answers, TaskGiven
from psp_core.flat_views import flat_views
from psp_core.groups import Group, Stretch
from psp_core.growth import Growth
from psp_core.images import StepBatch
from psp_core.methods.base import Learner, Method, Storage, network_size
from psp_core.methods.shared_settings import heads_setting
from psp_core.models import Heads, LayerSize, Model, SuperposedModel, TaskParts
from psp_core.networks import Networks
from psp_core.packed_mlp import Layer
from psp_core.parts import Rule, setting
from psp_core.rules import NOT_NEGATIVE
from psp_core.together import drawn_together

# E members, K tasks, P shared weights, C numbers of a task's own: embeddings, and its head if it has one; B batch,
# I inputs, O outputs

LARGEST: Final = 6.0
"""An embedding lies between this and its negative, where the gate is not flat."""
LARGEST_SCALED: Final = 50.0
"""Beyond this, s e counts as this where embeddings' gradients are compensated."""


class HAT(Method, name="hat"):
    """Each hidden unit has a gate a = sigmoid(s e) for each task, and an embedding e that the task trains.

    In the course of a task's steps s grows from 1 / stability to `stability`, which makes gates hard; answers have the
    latter. A regulariser, compressibility * sum a (1 - A) / sum (1 - A), asks for few units, where A is the largest
    gate of all earlier tasks; to those units' gates it is indifferent. A weight between two units moves by
    1 - min(A, A') of what the optimiser would have it move, a bias by 1 - A; inputs, and outputs of a head that all
    tasks share, count as units with A = 1. Embeddings' gradients are compensated for s, and embeddings clamped.

    Source: Serra, Suris, Miron and Karatzoglou 2018, "Overcoming catastrophic forgetting with hard attention to the
    task", section 2, eqs. 1 to 6; their tasks have heads of their own (`heads: per-task`). There s grows anew in each
    epoch, here once in all of a task's steps. They scale gradients, which is the same under their plain SGD; under an
    optimiser that divides by the size of gradients, or adds momentum or weight decay, weights in use would move all
    the same, so here the steps are scaled.
    """

    implies: ClassVar[Mapping[str, Any]] = MappingProxyType({"context": "none"})

    stability: float = setting(
        400.0,
        "What the gates' embeddings are multiplied by at the end of a task: the larger, the harder the gates. The "
        "paper calls it s_max.",
        rule=Rule(lambda value: 1 < value < 1e4, "must lie between 1 and 10000; the paper's is 400."),
        column="stability",
        per_member=True,
        label=" s {:g}",
    )
    compressibility: float = setting(
        0.75,
        "The cost of using a unit that no earlier task uses. The paper calls it c.",
        rule=NOT_NEGATIVE,
        column="compressibility",
        per_member=True,
        label=" c {:g}",
        says_default=True,
    )
    heads: Heads = heads_setting()

    def pieces(self) -> dict[str, str]:
        """The method first."""
        return {"method": self.name} | super().pieces()

    def layers(self, trial: Course) -> list[LayerSize]:
        """All but the first are bound to gates."""
        first, *others = super().layers(trial)
        return [replace(first, has_context=False), *(replace(layer, has_context=True) for layer in others)]

    def check(self, trial: Course) -> None:
        """Refuse networks without units, and tasks that come back to units that they use themselves."""
        model = trial.of(Model)
        if model.convolves or len(self.layers(trial)) == 1:
            raise ValueError(
                f"model={model.name!r}, depth={getattr(model, 'depth', None)}: method={self.name!r} has gates for the "
                "hidden units of fully connected networks; use 'mlp' of depth 1 or more."
            )
        if trial.num_cycles > 1:
            raise ValueError(
                f"num_cycles={trial.num_cycles} does not apply to method={self.name!r}, under which no task moves the "
                "weights that it has used; use one cycle."
            )

    def start(self, trials: Sequence[Course], device: torch.device) -> Learner:
        """The networks as they are drawn."""
        return HATLearner(trials, device)

    def cost(self, trial: Course) -> Cost:
        """A plain network's; gates and all that is kept for them are numbers of units, or of weights a few times."""
        layers = self.layers(trial)
        network, shared = sum(products(layers)), layers[:-1] if self.heads == "per-task" else layers
        weights, state = sum(map(num_weights, shared)), num_state(trial)
        units, heads = sum(layer.outputs for layer in layers[:-1]), sum(map(num_weights, layers[len(shared) :]))
        own = units + heads
        floats = weights * (6 + state) + own * (2 * trial.num_tasks + 8 + state)
        floats += 4 * trial.batch_size * num_activations(trial, layers)
        return Cost(
            num_params=weights,
            trunk_size=weights,
            num_activations=num_activations(trial, layers),
            step_products=step_products(layers),
            retrieved_products=network,
            measuring_products=network,
            answering_products=network,
            own_bytes=4 * floats,
            trained=Growth(once=weights, per_task=own),
            kept={
                "weights": Growth(once=4 * weights),
                "masks": Growth(per_task=4 * units),
                "heads": Growth(per_task=4 * heads),
            },
        )


class Attention(Diagonal):
    """What binds a layer's inputs: gates of the hidden units before it. Drawn are embeddings, from N(0, 1)."""

    is_of_units: ClassVar[bool] = True

    def draw(self, size: int, generator: torch.Generator) -> Tensor:
        """One task's embeddings of a layer."""
        return torch.randn(size, generator=generator)

    def bytes_per_task(self, size: int) -> int:
        """A number for each unit."""
        return 4 * size

    @property
    def of_inputs(self) -> Context:
        """The network's inputs have no gates."""
        return OpenGates()


class HATLearner(Learner):
    """E networks: weights that all tasks share, and embeddings of units, and heads, of each task.

    The networks' rows have gates as a task's end leaves them, with which they answer; embeddings are kept here.

    Attributes:
        networks: the members.
        attention_EC: A, the largest gate that an earlier task has for each unit; 0 where heads' numbers are.
    """

    def __init__(self, trials: Sequence[Course], device: torch.device) -> None:
        """Draw weights and embeddings."""
        self.trials, self.trial = trials, trials[0]
        parts = [trial.of(HAT) for trial in trials]
        models = drawn_together([partial(_build, trial, device) for trial in trials], device)
        self._gates = [f"layers.{index}.contexts" for index in range(1, len(self.trial.method.layers(self.trial)))]
        learned = {*self._gates, *models[0].trained_buffers()}
        self.networks = Networks(models, device, learned=learned, dtype=PRECISIONS[self.trial.precision])
        own = self.networks.flat_learned
        self._stability_E1 = own.new_tensor([part.stability for part in parts])[:, None]
        self._compressibility_E1 = own.new_tensor([part.compressibility for part in parts])[:, None]
        shapes = {name: tensor.shape[1:] for name, tensor in self.networks.learned.items()}
        self.attention_EC, self._attention = flat_views(shapes, len(trials), device)
        is_gate, views = flat_views(shapes, len(trials), device, torch.bool)
        for name in self._gates:
            views[name].fill_(True)
        self._is_gate_EC = is_gate
        self._kept_EKC = own.new_zeros(len(trials), self.trial.num_tasks, own.shape[1])
        for task in range(self.trial.num_tasks):
            self.networks.begin(task)
            self._kept_EKC[:, task] = own
        self._own_EC, self._costs_EC, self._step_1 = torch.zeros_like(own), torch.zeros_like(own), torch.empty(0)
        self._before_EP = torch.zeros_like(self.networks.flat)
        self._free_EP = torch.zeros_like(self.networks.flat)
        self._free = self.networks.views(self._free_EP)
        self._count_attention()
        self.groups = [
            Group(values_EP=self.networks.flat, gradients_EP=self.networks.flat_gradients),
            Group(values_EP=self._own_EC, gradients_EP=torch.zeros_like(own), lives="stretch"),
        ]
        of_task = sum(shape.numel() for shape in shapes.values())
        numbers = sum(tensor[0].numel() for tensor in self.networks.parameters.values())
        self.storage = [Storage(num_params=numbers, bytes_per_task=4 * of_task)] * len(trials)

    def begin(self, stretch: Stretch) -> Collection[int]:
        """Use the task's embeddings and its head; s is small."""
        self.networks.begin(stretch.row)
        self._own_EC.copy_(self._kept_EKC[:, stretch.task])
        self._step_1 = stretch.step_1
        return range(len(self.trials))

    @torch.no_grad()
    def gradients(self, batch: StepBatch) -> Tensor:
        """Each member's cross-entropy (E,); embeddings' gradients are compensated, and have the regulariser's."""
        e_EC, s_E1 = self._own_EC, self._scale()
        a_EC = torch.sigmoid(s_E1 * e_EC)
        torch.where(self._is_gate_EC, a_EC, e_EC, out=self.networks.flat_learned)
        self._before_EP.copy_(self.networks.flat)
        loss_E = self.networks.gradients(*batch)
        found_EC = self.networks.flat_learned_gradients
        of_gates_EC = found_EC + self._costs_EC
        slope_EC = s_E1 * a_EC * (1 - a_EC)
        compensation_EC = (s_E1 * e_EC).clamp(-LARGEST_SCALED, LARGEST_SCALED).cosh().add_(1) / (e_EC.cosh() + 1)
        of_embeddings_EC = of_gates_EC * slope_EC * compensation_EC * (self._stability_E1 / s_E1)
        torch.where(self._is_gate_EC, of_embeddings_EC, found_EC, out=self.groups[1].gradients_EP)
        return loss_E

    def _scale(self) -> Tensor:
        """S of the current step, (E, 1): linear in the task's steps, from 1 / stability to stability."""
        largest_E1, last = self._stability_E1, self.trial.steps_per_task - 1
        share_1 = self._step_1 / last if last else self._step_1 + 1
        return 1 / largest_E1 + (largest_E1 - 1 / largest_E1) * share_1

    def stepped(self) -> None:
        """Take back what earlier tasks need of the step, and keep embeddings where gates are not flat."""
        torch.lerp(self._before_EP, self.networks.flat, self._free_EP, out=self.networks.flat)
        clamped_EC = self._own_EC.clamp(-LARGEST, LARGEST)
        self._own_EC.copy_(torch.where(self._is_gate_EC, clamped_EC, self._own_EC))

    def keep(self, stretch: Stretch) -> None:
        """Keep embeddings and head; the networks get the gates with which they answer."""
        self._kept_EKC[:, stretch.task] = self._own_EC
        self.networks.flat_learned.copy_(self._hard(self._own_EC))
        self.networks.keep(stretch.row)

    def end(self, stretch: Stretch) -> None:
        """And protect the units that the task uses."""
        self.keep(stretch)
        gates_EC = self._hard(self._own_EC) * self._is_gate_EC
        torch.maximum(self.attention_EC, gates_EC, out=self.attention_EC)
        self._count_attention()

    def _hard(self, own_EC: Tensor) -> Tensor:
        """A task's gates as they are at its end, and its head."""
        return torch.where(self._is_gate_EC, torch.sigmoid(self._stability_E1 * own_EC), own_EC)

    def _count_attention(self) -> None:
        """How free each weight is, and what each unit costs, from A."""
        unused_EC = (1 - self.attention_EC) * self._is_gate_EC
        total_E1 = unused_EC.sum(dim=1, keepdim=True).clamp(min=torch.finfo(unused_EC.dtype).tiny)
        self._costs_EC.copy_(self._compressibility_E1 * unused_EC / total_E1)
        used = [self._attention[name] for name in self._gates]
        if len(self._free) > 2 * len(used):  # outputs that all tasks share are in use as soon as there is one
            outputs_E1 = self.attention_EC.any(dim=1, keepdim=True).to(self.attention_EC.dtype)
            used.append(outputs_E1.expand_as(self._free[f"layers.{len(used)}.bias"]))
        for index, after_EO in enumerate(used):
            in_use = after_EO[:, None]
            if index:
                in_use = torch.minimum(used[index - 1][:, :, None], in_use)
            self._free[f"layers.{index}.weight"].copy_(1 - in_use)
            self._free[f"layers.{index}.bias"].copy_(1 - after_EO)

    def answerer(self, num_begun: int) -> Answerer:
        """Each task's network answers."""
        return TaskGiven(_Answers(self.networks))

    def stop(self, member: int) -> None:
        """Forget its embeddings, gates and heads."""
        for tensor in (self._kept_EKC, self.attention_EC, self._costs_EC, self._before_EP):
            tensor[member] = 0
        self._count_attention()

    def member_state(self, member: int) -> dict[str, Any]:
        """Weights, gates and heads; embeddings, and what earlier tasks use."""
        own = {"kept": self._kept_EKC[member], "attention": self.attention_EC[member]}
        return {"networks": self.networks.member_state(member), **own}

    def load_member_state(self, member: int, state: dict[str, Any]) -> None:
        """Go on from what `member_state` gave."""
        self.networks.load_member_state(member, state["networks"])
        self._kept_EKC[member, : len(state["kept"])].copy_(state["kept"])
        self.attention_EC[member].copy_(state["attention"])
        self._count_attention()


class _Answers(Answers):
    """Networks with the gates of a task."""

    def __init__(self, networks: Networks) -> None:
        """Remember the networks."""
        self._networks = networks
        self.is_retrievable = networks.is_retrievable
        self.numbers_per_task = networks.numbers_per_row

    def retrieve(self, tasks: Sequence[int]) -> list[Layer]:
        """Every member's weights and biases of each of T tasks, (E * T, ...)."""
        return self._networks.retrieve(tasks)

    def logits(self, retrieved: Sequence[Layer], x_MBI: Tensor) -> Tensor:
        """Logits of retrieved networks, (M, O, B)."""
        return self._networks.logits(retrieved, x_MBI)

    def answer(self, member: int, task: int, x_BI: Tensor) -> Tensor:
        """Logits of one member on a batch of a task, (B, O)."""
        return self._networks.logits_of(member, task, x_BI)


def _build(trial: Course, device: torch.device) -> SuperposedModel:
    """The network, with embeddings in the place of contexts."""
    heads = trial.of(HAT).heads
    parts = TaskParts(context=Attention(), num_tasks=trial.num_tasks, seed=trial.seed, heads=heads, device=device)
    return trial.of(Model).build(network_size(trial, 0), parts)

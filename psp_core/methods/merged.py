"""Networks that are trained apart, each from the same weights, and then merged: the rivals that merge task vectors."""

from collections.abc import Collection, Sequence
from functools import partial
from typing import Any, Literal

import torch
from torch import Tensor

from psp_core.contexts import get_context
from psp_core.cost import Cost, num_activations, num_state, num_weights, products, step_products
from psp_core.course import Course
from psp_core.devices import PRECISIONS
from psp_core.evaluation import Answerer, Answers, TaskGiven
from psp_core.groups import Group, Stretch
from psp_core.growth import Growth
from psp_core.images import StepBatch
from psp_core.merging import Merge
from psp_core.methods.base import Learner, Method, Storage, network_size
from psp_core.models import Model, SuperposedModel, TaskParts
from psp_core.networks import Networks
from psp_core.packed_mlp import Layer
from psp_core.parts import setting
from psp_core.randomness import generator
from psp_core.together import drawn_together

# E members, K tasks, T of them, M retrieved networks, B batch, I inputs of a layer and 1 for its biases, O outputs


class Merged(Method, name="merged"):
    """Each task trains a network from the same start; their deltas are merged, and tasks are answered from the result.

    So R[K-1, j] is what task j has left once K are merged, and capacity is of merging as of any other method. Tasks do
    not hear of one another in training: this is no continual learning, and it keeps all deltas until they are merged.
    """

    merge: Merge = setting(
        "randes",
        "How networks that were trained apart are merged. A delta is what a task's training has added to the weights. "
        "`average` or `task-arithmetic`: one network for all tasks; `tall-masks`: a mask for each task over the sum "
        "of deltas; `randes`: an orthogonal, real context for each delta.",
        label="{}",
        says_default=True,
    )
    start_from: Literal["random", "first-task"] = setting(
        "random",
        "The weights from which each task trains: `random` ones, which a seed gives; or those of the network that task "
        "0 has trained, which then has no delta, and which are stored too.",
        column="start_from",
        label=" from {}",
    )

    def check(self, trial: Course) -> None:
        """Refuse what is not fully connected, tasks that come back, and contexts that deltas cannot have."""
        if trial.of(Model).convolves:
            raise ValueError(
                f"model={trial.of(Model).name!r} does not apply to method='merged', which merges fully connected "
                "networks so far; use 'mlp'."
            )
        if trial.num_cycles > 1:
            raise ValueError(
                f"num_cycles={trial.num_cycles}: method='merged' trains each task once, from the common start; use one."
            )
        self.merge.check([layer.inputs + 1 for layer in self.layers(trial)], trial.num_tasks)

    def start(self, trials: Sequence[Course], device: torch.device) -> Learner:
        """The networks as they are drawn."""
        return MergedLearner(trials, device)

    def cost(self, trial: Course) -> Cost:
        """A plain network's in training; in memory all deltas, twice when they are merged."""
        layers = self.layers(trial)
        network, numbers = sum(products(layers)), sum(map(num_weights, layers))
        drawn = sum(self.merge.numbers_per_task(layer.inputs + 1) for layer in layers)
        floats = numbers * (6 + num_state(trial) + 2 * trial.num_tasks) + drawn * trial.num_tasks
        floats += 4 * trial.batch_size * num_activations(trial, layers)
        of_task = sum(self.merge.bytes_per_task(layer.inputs + 1, layer.outputs) for layer in layers)
        return Cost(
            num_params=numbers,
            trunk_size=numbers,
            num_activations=num_activations(trial, layers),
            step_products=step_products(layers),
            retrieved_products=network,
            measuring_products=network,
            answering_products=network,
            retrieving_numbers=2 * numbers,
            own_bytes=4 * floats,
            trained=Growth(per_task=numbers),
            kept={
                "weights": Growth(once=4 * numbers * self.num_vectors),
                self.merge.kept_as: Growth(per_task=of_task),
            },
        )

    @property
    def num_vectors(self) -> int:
        """Vectors of all weights that are stored: the merged deltas, and a start that was trained."""
        return 2 if self.start_from == "first-task" else 1


class MergedLearner(Learner):
    """E networks, the current task's; and what each task has moved the weights by.

    Attributes:
        deltas: by layer, (E, K, I, O); 0 of tasks that were not trained.
    """

    def __init__(self, trials: Sequence[Course], device: torch.device) -> None:
        """Draw the start, and what merging gives each task."""
        self.trials, trial = trials, trials[0]
        self.parts = [each.of(Merged) for each in trials]
        models = drawn_together([partial(_build, each, device) for each in trials], device)
        self.networks = Networks(models, device, dtype=PRECISIONS[trial.precision])
        self.groups = [
            Group(values_EP=self.networks.flat, gradients_EP=self.networks.flat_gradients, lives="task"),
        ]
        self._first_EP = self.networks.flat.clone()
        names = list(self.networks.parameters)
        self._names = list(zip(names[::2], names[1::2], strict=True))
        self._first = self._matrices()
        self.deltas = [first.new_zeros(len(trials), trial.num_tasks, *first.shape[1:]) for first in self._first]
        self.drawn = [self._drawn(e, device) for e in range(len(trials))]
        self.storage = [self._storage(part) for part in self.parts]
        self.networks.begin(0)

    def _drawn(self, member: int, device: torch.device) -> list[Tensor]:
        """What merging draws for each task of a member, by layer."""
        trial, part = self.trials[member], self.parts[member]
        sizes = [first.shape[1] for first in self._first]
        return [
            part.merge.draw(trial.num_tasks, size, generator(trial.seed, "merging", index), device)
            for index, size in enumerate(sizes)
        ]

    def _storage(self, part: Merged) -> Storage:
        """The merged deltas are one vector; a start that was trained is another."""
        sizes = [first.shape[1:] for first in self._first]
        numbers = sum(size.numel() for size in sizes)
        once = 4 * numbers * (part.num_vectors - 1)
        return Storage(numbers, once, sum(part.merge.bytes_per_task(*size) for size in sizes))

    def begin(self, stretch: Stretch) -> Collection[int]:
        """Go back to the start."""
        self.networks.flat.copy_(self._first_EP)
        self.networks.begin(0)
        return range(len(self.trials))

    def gradients(self, batch: StepBatch) -> Tensor:
        """Each member's loss (E,)."""
        return self.networks.gradients(*batch)

    def keep(self, stretch: Stretch) -> None:
        """Keep what the task has moved."""
        for deltas, now, first in zip(self.deltas, self._matrices(), self._first, strict=True):
            deltas[:, stretch.task] = now - first

    def end(self, stretch: Stretch) -> None:
        """Keep what the task has moved; or have all others start where the first one ended."""
        if stretch.task == 0:
            for e, part in enumerate(self.parts):
                if part.start_from == "first-task":
                    self._first_EP[e] = self.networks.flat[e]
                    for first, now in zip(self._first, self._matrices(), strict=True):
                        first[e] = now[e]
        self.keep(stretch)

    def answerer(self, num_begun: int) -> Answerer:
        """What is left of each task's network, once so many are merged."""
        return TaskGiven(_Retrieved(self, num_begun))

    def retrieve(self, member: int, tasks: Sequence[int], num_merged: int) -> list[Tensor]:
        """One member's weights with their biases for these tasks, once so many are merged: by layer, (T, I, O)."""
        merge = self.parts[member].merge
        layers = zip(self._first, self.deltas, self.drawn[member], strict=True)
        return [
            first[member] + merge.retrieve(deltas[member, :num_merged], tasks, drawn) for first, deltas, drawn in layers
        ]

    def stop(self, member: int) -> None:
        """Forget its deltas and its start."""
        self._first_EP[member] = 0
        for tensor in (*self._first, *self.deltas):
            tensor[member] = 0

    def member_state(self, member: int) -> dict[str, Any]:
        """The start and all deltas."""
        return {"first": self._first_EP[member], "deltas": [deltas[member] for deltas in self.deltas]}

    def load_member_state(self, member: int, state: dict[str, Any]) -> None:
        """Go on from what `member_state` gave."""
        self.networks.flat[member] = state["first"]
        self._first_EP[member].copy_(state["first"])
        for first, now in zip(self._first, self._matrices(), strict=True):
            first[member] = now[member]
        for deltas, stored in zip(self.deltas, state["deltas"], strict=True):
            deltas[member, : len(stored)].copy_(stored)

    def _matrices(self) -> list[Tensor]:
        """The weights of this moment, the biases in the last row: by layer, (E, I, O), of their own memory."""
        parameters = self.networks.parameters
        return [torch.cat([parameters[weight], parameters[bias][:, None]], dim=1) for weight, bias in self._names]


class _Retrieved(Answers):
    """Merged networks as they answer."""

    is_retrievable = True

    def __init__(self, learner: MergedLearner, num_merged: int) -> None:
        """Remember both."""
        self._learner, self._num_merged = learner, num_merged
        self.numbers_per_task = 2 * learner.networks.flat.numel()

    def retrieve(self, tasks: Sequence[int]) -> list[Layer]:
        """Every member's weights and biases of each of T tasks, (E * T, ...), member first."""
        learner = self._learner
        members = [learner.retrieve(e, tasks, self._num_merged) for e in range(len(learner.trials))]
        layers = (torch.cat(of_members) for of_members in zip(*members, strict=True))
        return [(layer[:, :-1], layer[:, -1]) for layer in layers]

    def logits(self, retrieved: Sequence[Layer], x_MBI: Tensor) -> Tensor:
        """Logits of M retrieved networks, each on its own batch: shape (M, O, B)."""
        return self._learner.networks.logits(retrieved, x_MBI)

    def answer(self, member: int, task: int, x_BI: Tensor) -> Tensor:
        """Logits of one member on one task's batch: shape (B, O)."""
        retrieved = self._learner.retrieve(member, [task], self._num_merged)
        layers = [(layer[:, :-1], layer[:, -1]) for layer in retrieved]
        return self.logits(layers, x_BI[None])[0].mT


def _build(trial: Course, device: torch.device) -> SuperposedModel:
    """The network without contexts."""
    parts = TaskParts(context=get_context("none"), num_tasks=1, seed=trial.seed, device=device)
    return trial.of(Model).build(network_size(trial, 0), parts)

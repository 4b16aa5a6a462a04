"""Paper A's networks, with contexts or without; and the rivals that train a trunk, heads or rank-one factors."""

from collections.abc import Collection, Iterator, Sequence
from functools import partial
from typing import Any, Final, Literal

import torch
from torch import Tensor

from psp_core.contexts import Context
from psp_core.cost import Cost
from psp_core.course import Course
from psp_core.devices import PRECISIONS
from psp_core.evaluation import Answerer, Finders
from psp_core.groups import Group, Stretch
from psp_core.images import StepBatch, inputs_of
from psp_core.inference import Inferred
from psp_core.kept import FOR_LEARNING
from psp_core.methods.base import Learner, Storage, network_size, num_outputs
from psp_core.methods.superposed_cost import SuperposedCost
from psp_core.methods.superposed_settings import SuperposedSettings
from psp_core.models import Model, SuperposedModel, TaskParts
from psp_core.networks import Networks
from psp_core.norms import measured_buffers
from psp_core.packed_mlp import Layer
from psp_core.protect import Step
from psp_core.schedules import reschedule
from psp_core.together import drawn_together
from psp_core.trained_schedules import TrainedSchedule

# E members, M retrieved networks, T tasks, A questions, B batch, I inputs

SETTLING_BATCHES: Final = 50
"""How many of a task's last batches the statistics are measured on that batch norms keep of the task."""


class Superposed(SuperposedSettings, name="psp"):
    """All tasks share the weights, and each has contexts of its own; without contexts this is plain training.

    Source: paper A; the trunks and heads are Separate Heads, BatchE, their RandW forms, and Upper Bound of paper B
    (papers.md, B3 and B4).
    """

    def start(self, trials: Sequence[Course], device: torch.device) -> Learner:
        """The networks as they are drawn."""
        return SuperposedLearner(trials, device)

    def cost(self, trial: Course) -> Cost:
        """Layers, bound by contexts."""
        return SuperposedCost(self, trial).cost


class SuperposedLearner(Learner):
    """E superposed networks: weights that all tasks share, and contexts, heads and statistics of each task.

    Attributes:
        networks: the members; a row of their buffers belongs to each stretch.
        protected: what the protection remembers.
    """

    def __init__(self, trials: Sequence[Course], device: torch.device) -> None:
        """Draw weights and contexts."""
        self.trials, self.trial = trials, trials[0]
        self.parts = [trial.of(SuperposedSettings) for trial in trials]
        self.part = self.parts[0]
        models = _models(trials, self.part, device)
        learned = _learned(self.part, models[0])
        self.storage = [_storage(trial, model, learned) for trial, model in zip(trials, models, strict=True)]
        _bind_alike(models)
        self._mixes_rows = self.part.joint and any(part.has_own for part in self.parts)
        self.networks = Networks(
            models,
            device,
            learned=learned,
            dtype=PRECISIONS[self.trial.precision],
            schedule=self._trained_schedule(),
            mixes_rows=self._mixes_rows,
            exact_gradients=self.part.protect.is_any,
        )
        shared = Group(values_EP=self.networks.flat, gradients_EP=self.networks.flat_gradients)
        shared.rounded_EP = self.networks.keep_rounded()
        shared.lives = "task" if self.part.measures_once else "stream"
        self.groups = [shared]
        if self.networks.flat_learned.numel():
            own, gradients = self.networks.flat_learned, self.networks.flat_learned_gradients
            self.groups.append(Group(values_EP=own, gradients_EP=gradients, lives=self._own_life()))
        self._first_EP = self.networks.flat.clone() if self.part.trunk == "independent" else None
        self.protected = self.part.protect.start([part.protect for part in self.parts], shared, trials)
        self.can_capture = self.part.protect.can_capture
        self._step_1 = self._tasks_SEB = torch.empty(0)

    def _trained_schedule(self) -> TrainedSchedule | None:
        if not self.part.trains_all_contexts:
            return None
        positions = self.part.num_stretches(self.trial) // self.part.contexts_per_task
        return TrainedSchedule(schedule=self.part.schedule, positions_per_context=positions)

    def _own_life(self) -> Literal["stream", "stretch", "row"]:
        """How long what belongs to tasks is remembered: all rows are trained together, or come back, or do not."""
        if not self.networks.trains_rows:
            return "stream"
        return "row" if self.trial.num_cycles > 1 else "stretch"

    def begin_task(self, task: int) -> None:
        """Freeze the trunk where the task does not train it; begin anew where it has a trunk of its own."""
        if self._first_EP is not None:  # members that diverged have zeros
            self.networks.flat.copy_(self._first_EP * self.networks.flat.any(dim=1, keepdim=True))
        self.groups[0].is_active = not self.part.freezes_trunk(task)
        for group in self.groups[1:]:
            pairs = zip(self.parts, self.trials, strict=True)
            group.lrs = [part.lr_of(trial, task) for part, trial in pairs]

    def begin(self, stretch: Stretch) -> Collection[int]:
        """Use the stretch's contexts and its task's head."""
        self.networks.begin(stretch.row)
        self.part.protect.begin(self.protected, self.groups[0], self.networks, stretch)
        self._step_1, self._tasks_SEB = stretch.step_1, stretch.tasks_SEB
        return range(len(self.trials)) if self.networks.trains_rows and not stretch.phase else ()

    def gradients(self, batch: StepBatch) -> Tensor:
        """Each member's loss (E,); the protection has its say on the gradients of the shared weights."""
        if self._mixes_rows:  # of tasks with contexts or heads
            task_EB = self._tasks_SEB.index_select(0, self._step_1)[0]
            return self.networks.mixed_gradients(task_EB, inputs_of(batch[0]), batch[1])
        shared = self.groups[0]
        loss_E = self.networks.gradients(*batch, is_frozen=not shared.is_active)
        step = Step(networks=self.networks, batch=batch, number_1=self._step_1)
        self.part.protect.edit(self.protected, shared, step)
        return loss_E

    def stepped(self) -> None:
        """Tell the protection."""
        self.part.protect.stepped(self.protected, self.groups[0], self.networks)

    def settle(self, stretch: Stretch) -> None:
        """Measure the statistics that batch norms keep of the task."""
        self.networks.settle(x_EBI for x_EBI, _ in stretch.recent(SETTLING_BATCHES))

    def keep(self, stretch: Stretch) -> None:
        """Put what was trained and measured back into its row."""
        self.networks.keep(stretch.row)

    def end(self, stretch: Stretch) -> None:
        """Keep the row; and what the protection remembers of a task that ends."""
        self.keep(stretch)
        if stretch.is_last:
            self.part.protect.end(self.protected, self.groups[0], self.networks, stretch)

    def answerer(self, num_begun: int) -> Answerer:
        """Each task's network answers; or the one of the task that is inferred."""
        return self.part.answerer(_Answers(self, min(num_begun, self.trial.num_tasks)))

    def stop(self, member: int) -> None:
        """Forget what is protected."""
        for tensor in self.protected.values():
            tensor[member] = 0

    def member_state(self, member: int) -> dict[str, Any]:
        """Shared weights, the rows that were trained or measured, and what is protected."""
        protected = {name: tensor[member] for name, tensor in self._kept_protected()}
        return {"networks": self.networks.member_state(member), "protected": protected}

    def load_member_state(self, member: int, state: dict[str, Any]) -> None:
        """Go on from what `member_state` gave."""
        self.networks.load_member_state(member, state["networks"])
        for name, tensor in self._kept_protected():
            tensor[member].copy_(state["protected"][name])

    def _kept_protected(self) -> Iterator[tuple[str, Tensor]]:
        """What is protected, but for what the next task makes anew."""
        for name, tensor in self.protected.items():
            if name not in self.part.protect.transient:
                yield name, tensor


class _Answers(Finders):
    """Superposed networks as they answer: a task with the first of its rows."""

    def __init__(self, learner: SuperposedLearner, num_seen: int) -> None:
        """Remember both."""
        self._learner, self._networks, self._part = learner, learner.networks, learner.part
        self._num_real = num_outputs(learner.trial)
        self._rows = learner.part.num_stretches(learner.trial)
        self._num_seen = num_seen
        self._viewed = dict[int, dict[str, Tensor]]()  # of the task that was asked about last
        self.is_retrievable = self._networks.is_retrievable
        self.numbers_per_task = self._networks.numbers_per_row

    def retrieve(self, tasks: Sequence[int]) -> list[Layer]:
        """Every member's weights and biases of each of T tasks, (E * T, ...)."""
        if not self._part.protect.has_views:
            return self._networks.retrieve([task * self._rows for task in tasks])
        of_tasks = [self._networks.retrieve([task * self._rows], self._view(task)) for task in tasks]
        return [
            (_by_member([weight for weight, _ in layer]), _by_member([bias for _, bias in layer]))
            for layer in zip(*of_tasks, strict=True)
        ]

    def logits(self, retrieved: Sequence[Layer], x_MBI: Tensor) -> Tensor:
        """Logits of retrieved networks, (M, O, B)."""
        return self._networks.logits(retrieved, x_MBI)

    def answer(self, member: int, task: int, x_BI: Tensor) -> Tensor:
        """Logits of one member on a batch of a task, (B, O)."""
        instead = {name: values[member] for name, values in self._view(task).items()}
        return self._networks.logits_of(member, task * self._rows, x_BI, instead)

    def _view(self, task: int) -> dict[str, Tensor]:
        """The shared weights with which a task is answered, by name, (E, ...); empty where they are as they are."""
        protect = self._part.protect
        if not protect.has_views:
            return {}
        if task not in self._viewed:
            values_EP = protect.view(self._learner.protected, task, self._learner.groups[0].values_EP)
            self._viewed = {task: self._networks.views(values_EP)}
        return self._viewed[task]

    def find(self, member: int, x_ABI: Tensor) -> Tensor:
        """Which of the tasks seen each of A batches is of: int64 (A,)."""
        inference = self._part.inference
        assert isinstance(inference, Inferred)
        superposition = self._networks.superposition(member, self._num_seen, inference, self._num_real)
        return inference.find(superposition, x_ABI)


def _by_member(of_tasks_EX: Sequence[Tensor]) -> Tensor:
    """What each of T tasks has of each member, as one tensor (E * T, ...), member first."""
    return torch.stack(list(of_tasks_EX), 1).flatten(0, 1)


def _models(trials: Sequence[Course], part: SuperposedSettings, device: torch.device) -> list[SuperposedModel]:
    """The members as they begin: one for all that are drawn alike, unless each trains buffers of its own."""
    if part.learned_contexts or part.heads == "per-task":
        return drawn_together([partial(build_model, trial, device) for trial in trials], device)
    kinds = [(trial.seed, trial.num_tasks, trial.of(Context), trial.initial_weights) for trial in trials]
    of_kind = dict(zip(kinds, trials, strict=True))
    drawn = drawn_together([partial(build_model, trial, device) for trial in of_kind.values()], device)
    models = dict(zip(of_kind, drawn, strict=True))
    return [models[kind] for kind in kinds]


def _bind_alike(models: Sequence[SuperposedModel]) -> None:
    """Have members without contexts bind as their neighbours do, if these have contexts."""
    bound = [model for model in models if not model.context.is_trivial]
    for model in models:
        if bound and model.context.is_trivial:
            model.bind_as(bound[0])
    of_units = [model for model in models if model.context.is_of_units]
    for model in models if of_units else ():
        model.bind_heads_as(of_units[0])


def _storage(trial: Course, model: SuperposedModel, learned: Collection[str]) -> Storage:
    """Contexts, heads and statistics count in bytes: fixed contexts as drawn, trained ones by their numbers.

    So does what a protection keeps if answers need it.
    """
    part = trial.of(SuperposedSettings)
    buffers, shared = dict(model.named_buffers()), part.schedule.num_shared
    of_row, measured = (
        4 * sum(buffers[name][0].numel() for name in names) for names in (learned, measured_buffers(model))
    )
    numbers = sum(parameter.numel() for parameter in model.parameters())
    once, per_task = model.bytes_once(), measured
    if not (part.learned_contexts and shared):
        per_task += part.contexts_per_task * of_row
    if shared:
        once += shared * (of_row if part.learned_contexts else model.bytes_per_task())
    elif not part.learned_contexts:
        per_task += part.contexts_per_task * model.bytes_per_task()
    if part.measures_once:
        per_task += 4 * numbers
    if part.protect.kept_as not in FOR_LEARNING:
        kept = part.protect.kept_bytes(trial, numbers)
        once, per_task = once + kept.once, per_task + kept.per_task
    return Storage(numbers if part.counts_trunk else 0, once, per_task)  # frozen weights are a seed


def _learned(part: SuperposedSettings, model: SuperposedModel) -> Collection[str]:
    """Names of the buffers that are trained."""
    if not part.learned_contexts:
        return model.trained_buffers()
    numbers = {name for name, buffer in model.named_buffers() if buffer.numel()}  # a stem's contexts have none
    return numbers - measured_buffers(model)


def build_model(trial: Course, device: torch.device) -> SuperposedModel:
    """The network of a trial, as an ordinary module; its contexts are those in use, unless a schedule's are trained."""
    part = trial.of(SuperposedSettings)
    parts = TaskParts(
        context=part.context,
        num_tasks=part.num_contexts(trial),
        seed=trial.seed,
        heads=part.heads,
        device=device,
        output_contexts=part.output_contexts,
        channel_contexts=part.channel_contexts,
        initial_weights=part.initial_weights,
    )
    model = trial.of(Model).build(network_size(trial, part.extra_outputs), parts)
    if part.schedule.name != "task" and not part.trains_all_contexts:
        reschedule(model, part.schedule, part.num_stretches(trial) // part.contexts_per_task, trial.seed)
    return model

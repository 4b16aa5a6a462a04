"""Training a pack of trials through its stream, and measuring R[i, j] on the way."""

import os
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from itertools import product
from typing import Any, Final

import torch
from torch import Tensor

from psp_core.datasets import Dataset, load_dataset
from psp_core.devices import Repeater, arithmetic, cpu_threads
from psp_core.evaluation import Measured
from psp_core.groups import Batch, Group, Stretch
from psp_core.held_out import HeldOut
from psp_core.images import Images, StepBatch, inputs_of
from psp_core.kept_states import KeptStates
from psp_core.kernels.batch_numbers import batch_numbers
from psp_core.kernels.noted_losses import note_losses
from psp_core.measuring import CurvePoint, curve_tasks, is_moment, is_within, next_moment, tasks_to_measure
from psp_core.optimisers import Stepper
from psp_core.progress import ProgressLine
from psp_core.result import TrialResult
from psp_core.trial import Trial
from psp_core.visits import Visits, num_descriptions

STEPS_AT_ONCE: Final = 100
"""Steps that are taken, or given to a GPU, between two looks at how far training is."""

# E members, K tasks, T of them, V visits (tasks trained, those trained again counted again), S steps, B batch,
# N samples, I inputs, P parameters


class PackTraining:
    """Trains E trials of one shape together, task after task.

    A step reads and writes tensors on the device only: the batches of a whole task lie there, and so
    does the number of the step. On a CUDA device it is one graph.

    Numbers are of torch's default type, float32 unless `torch.set_default_dtype` says otherwise.

    Args:
        configs: the members' configurations; they may differ in what need not be `shared`.
        dataset: their data set, on any device.
        device: where to train.

    Raises:
        ValueError: the configurations differ in more.
    """

    def __init__(self, configs: Sequence[Trial], dataset: Dataset, device: torch.device) -> None:
        """Draw the members' weights, contexts and tasks."""
        self.config = configs[0]
        self.configs = list(configs)
        shapes = [config.shape for config in configs]
        if differ := sorted({column for column, _ in frozenset.union(*shapes) - frozenset.intersection(*shapes)}):
            raise ValueError(f"the members of a pack must be alike in {', '.join(differ)}; pack them apart.")
        self.device = device
        self.dataset = dataset.normalised(self.config.dataset.normalisation).to(device)
        sizes = self.config.dataset.sizes
        kinds = [(config.stream, config.num_tasks, config.seed) for config in configs]
        streams = {kind: kind[0].tasks(sizes, *kind[1:]) for kind in kinds}
        self.tasks = [streams[kind] for kind in kinds]
        self.learner = self.config.method.start(configs, device)
        self.optimisers = [self._stepper(group) for group in self.learner.groups if group.values_EP.numel()]
        self._trained = [group for group in self.learner.groups if group.values_EP.numel()]
        self._kept = {
            place: KeptStates(optimiser)
            for place, (group, optimiser) in enumerate(zip(self._trained, self.optimisers, strict=True))
            if group.lives == "row"
        }
        self.measured = self._empty_tables()
        self.curves: list[list[CurvePoint]] = [[] for _ in configs]
        self.diverged_at: list[int | None] = [None] * len(configs)
        self.tasks_seen = self._taken = 0
        self.seconds = 0.0
        self.after_steps: Callable[[int], None] = lambda step: None  # told how many steps of the trial are taken
        self._step_1 = torch.zeros(1, dtype=torch.int64, device=device)
        self._zero_1 = torch.zeros_like(self._step_1)
        size = (self.config.steps_per_task, len(configs), self.config.batch_size)
        self._samples_SEB = torch.zeros(size, dtype=torch.int64, device=device)
        self._augmentation = self.config.augmentation if self.config.augmentation.is_any else None
        self._drawn_SEB3 = torch.zeros((*size, 3) if self._augmentation else 0, dtype=torch.int8, device=device)
        self._tasks_SEB = torch.zeros(size if self.config.method.mixes_tasks else 0, dtype=torch.int64, device=device)
        images = self.dataset.train_images
        self._images_NI = images if isinstance(images, Tensor) else torch.empty(0)  # what batches are taken from
        self._labels_N = self.dataset.train_labels
        constants_2 = self.dataset.constants()
        self._constants_2 = None if constants_2 is None else constants_2.to(device)
        self._losses_SE = torch.zeros(size[:2], device=device)
        one = self.tasks[0].describe(0)
        descriptions = num_descriptions(self.config), len(configs), *one.shape
        self._descriptions_SE = torch.empty(descriptions, dtype=one.dtype, device=device)
        self._visits = Visits(configs, self.tasks, dataset.train_labels.cpu(), device)
        self._held_out: dict[int | None, HeldOut] = {}
        factors_S = self.config.lr_schedule.factors(self.config.steps_per_task)
        self._lr_factors_S = None if factors_S is None else factors_S.to(device)
        self._repeater, self._active = self._new_repeater(), self._active_groups()

    @property
    def done(self) -> bool:
        """Whether all tasks of a member are trained; those that have more go on in another pack, from their states."""
        return any(config.num_visits == self.tasks_seen for config in self.configs)

    def train_task(self) -> None:
        """Train the next task and measure what is due after it."""
        start = time.perf_counter()
        with arithmetic(self.config.precision, self.device):
            if None in self.diverged_at:
                self.begin_task(self.tasks_seen)
                self.take_steps()
                self._note_divergence()
            self.tasks_seen += 1
            if None in self.diverged_at:  # of members that are all lost there is nothing to measure
                self._measure()
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)
        self.seconds += time.perf_counter() - start

    def begin_task(self, visit: int) -> None:
        """Put what task number `visit` of the stream is, and its batches, where the step reads them."""
        task = visit % self.config.num_tasks
        self._visits.put(visit, self._samples_SEB, self._descriptions_SE, self._drawn_SEB3, self._tasks_SEB)
        self._fetch_images()
        self._begin_optimisers(task)
        self._task = task

    def take_steps(self) -> None:
        """Take all steps of the task that was begun, stretch after stretch."""
        self._step_1.zero_()
        count, steps = self.config.method.num_stretches(self.config), self.config.steps_per_task
        phases = self.config.method.phases(self.config)
        before, taken = self.tasks_seen * steps, 0
        for index, phase in product(range(count), range(len(phases))):
            stretch = Stretch(
                task=self._task,
                index=index,
                count=count,
                batch_size=self.config.batch_size,
                first=lambda: self._batch(self._step_1),
                recent=self._recent,
                phase=phase,
                num_phases=len(phases),
                tasks_SEB=self._tasks_SEB,
                step_1=self._step_1,
                batch=lambda step: self._images(self._zero_1 + step),
            )
            self._begin_stretch(stretch, before + taken)
            end = taken + phases[phase]
            while taken < end:
                until = min(end, taken + STEPS_AT_ONCE, next_moment(self.config, before + taken) - before)
                self._repeater.run(self._step, until - taken)
                taken = self._taken = until
                self.after_steps(before + taken)
                if is_within(self.config, before + taken):
                    self.learner.settle(stretch)
                    self.learner.keep(stretch)
                    self._measure_within(before + taken)
            self.learner.settle(stretch)
            self.learner.end(stretch)
            for kept in self._kept.values():
                kept.end(stretch.row, before + taken)

    def _begin_stretch(self, stretch: Stretch, step: int) -> None:
        """Begin a stretch after so many steps of the stream: no optimiser has seen what belongs to it, or one had."""
        replaced = self.learner.begin(stretch)
        if self._active != (active := self._active_groups()):  # a graph of the last step would not take this one
            self._repeater, self._active = self._new_repeater(), active
        for place, (group, optimiser) in enumerate(zip(self._trained, self.optimisers, strict=True)):
            if group.lives == "stretch":
                optimiser.restart(replaced)
            elif group.lives == "row":
                self._kept[place].begin(stretch.row, step)

    def _recent(self, number: int) -> Iterator[Batch]:
        """The last so many batches that the task in training has trained on, or as many as there are."""
        for step in range(max(0, self._taken - number), self._taken):
            yield self._batch(self._zero_1 + step)

    def results(self) -> list[TrialResult]:
        """Each member's result so far."""
        measured = [self._measured_of(e) for e in range(len(self.configs))]
        return [
            TrialResult(
                config=config,
                accuracy=measured[e]["accuracy"],
                loss=measured[e]["loss"],
                num_samples=measured[e]["num_samples"].long(),
                answers={column: measured[e][column] for column in config.method.measured},
                curve=self.curves[e],
                diverged_at=self.diverged_at[e],
                num_params=storage.num_params,
                context_bytes_once=storage.bytes_once,
                context_bytes_per_task=storage.bytes_per_task,
                notes=self.learner.notes(e),
                seconds=self.seconds / len(self.configs),
            )
            for e, (config, storage) in enumerate(zip(self.configs, self.learner.storage, strict=True))
        ]

    def state_dict(self) -> dict[str, Any]:
        """All that training has changed so far, between tasks: tensors and plain values.

        A new `PackTraining` of the same trials goes on from it as this one would, on a CPU to the bit:
        everything else is drawn again from seeds.
        """
        return {"members": [self.member_state(e) for e in range(len(self.configs))]}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from what `state_dict` gave."""
        self.load_member_states(state["members"])

    def member_state(self, member: int) -> dict[str, Any]:
        """What training has changed so far of one member, between tasks."""
        return {
            "learner": self.learner.member_state(member),
            "optimisers": [optimiser.member_state(member) for optimiser in self.optimisers],
            "kept": [kept.member_state(member) for kept in self._kept.values()],
            "measured": self._measured_of(member),
            "curve": [(step, task, dict(measured)) for step, task, measured in self.curves[member]],
            "diverged_at": self.diverged_at[member],
            "tasks_seen": self.tasks_seen,
            "seconds": self.seconds / len(self.configs),
        }

    def load_member_states(self, states: Sequence[dict[str, Any]]) -> None:
        """Go on from what `member_state` gave of each member, in this pack or any other.

        It may be of a trial of fewer tasks, if that is the beginning of the member's (`Trial.is_nested`).

        Raises:
            ValueError: the members have seen different numbers of tasks.
        """
        if len({state["tasks_seen"] for state in states}) > 1:
            raise ValueError("members that go on together must have seen as many tasks each; pack them apart.")
        for e, state in enumerate(states):
            self.learner.load_member_state(e, state["learner"])
            for optimiser, stored in zip(self.optimisers, state["optimisers"], strict=True):
                optimiser.load_member_state(e, stored)
            for kept, stored in zip(self._kept.values(), state["kept"], strict=True):
                kept.load_member_state(e, stored)
            for name, measured_EVK in self.measured.items():
                visits, tasks = state["measured"][name].shape
                measured_EVK[e, :visits, :tasks].copy_(state["measured"][name])
            self.curves[e] = [CurvePoint(*point) for point in state["curve"]]
            self.diverged_at[e] = state["diverged_at"]
        self.tasks_seen = states[0]["tasks_seen"]
        self.seconds = sum(state["seconds"] for state in states)

    def _measured_of(self, member: int) -> dict[str, Tensor]:
        """One member's tables (V, K)."""
        config = self.configs[member]
        size = slice(config.num_visits), slice(config.num_tasks)
        return {name: measured_EVK[member, *size] for name, measured_EVK in self.measured.items()}

    def _empty_tables(self) -> dict[str, Tensor]:
        """A table (E, V, K) for each column that is measured: NaN, and of samples 0, where nothing is."""
        lengths = [(config.num_visits, config.num_tasks) for config in self.configs]
        size = (len(self.configs), *map(max, zip(*lengths, strict=True)))
        tables = {
            name: torch.full(size, float("nan"), dtype=torch.float64)
            for name in ("accuracy", "loss", *self.config.method.measured)
        }
        return tables | {"num_samples": torch.zeros(size, dtype=torch.float64)}

    def _stepper(self, group: Group) -> Stepper:
        optimisers = [config.optimiser for config in self.configs]
        return Stepper(optimisers, group.values_EP, group.gradients_EP, group.rounded_EP)

    def _begin_optimisers(self, task: int) -> None:
        """Choose what is trained in this task, and how fast."""
        self.learner.begin_task(task)
        for group, optimiser in zip(self._trained, self.optimisers, strict=True):
            if group.lrs is not None:
                optimiser.set_lrs(group.lrs)
            if group.lives == "task":
                optimiser.restart(range(len(self.configs)))

    def _fetch_images(self) -> None:
        """Decode the images of the task's batches, if the data set leaves them in files, and number batches by them."""
        images = self.dataset.train_images
        if isinstance(images, Tensor):
            return
        self._repeater = self._new_repeater()  # a graph would go on reading the last task's images
        self._images_NI = torch.empty(0)  # which make room first
        used_N, places_SEB = torch.unique(self._samples_SEB, return_inverse=True)
        self._images_NI, self._labels_N = images[used_N], self.dataset.train_labels[used_N]
        self._samples_SEB.copy_(places_SEB)

    def _active_groups(self) -> list[bool]:
        return [group.is_active for group in self._trained]

    def _new_repeater(self) -> Repeater:
        return Repeater(self.device, can_capture=self.learner.can_capture)

    def _step(self) -> None:
        loss_E = self.learner.gradients(self._step_batch(self._step_1))
        factor_1 = None if self._lr_factors_S is None else self._lr_factors_S.index_select(0, self._step_1)
        for group, optimiser in zip(self._trained, self.optimisers, strict=True):
            if group.is_active:
                optimiser.step(factor_1)
        self.learner.stepped()
        note_losses(self._losses_SE, self._step_1, loss_E)

    def _batch(self, step_1: Tensor) -> Batch:
        """The inputs (E, B, I) and labels (E, B) of a step of the task that was begun."""
        x, labels_EB = self._step_batch(step_1)
        return inputs_of(x), labels_EB

    def _step_batch(self, step_1: Tensor) -> StepBatch:
        """The same, its inputs still to be made, unless each image is of a task of its own."""
        images, labels = self._images(step_1)
        if not self._tasks_SEB.numel():
            return images, labels
        size = self._tasks_SEB.shape[1:]
        return images.inputs().view(*size, -1), labels.view(size)

    def _images(self, step_1: Tensor) -> tuple[Images, Tensor]:
        """The images and labels of a step; an image that is of a task of its own is a batch of one."""
        samples_EB, labels_EB = batch_numbers(self._samples_SEB, step_1, self._labels_N)
        if self._tasks_SEB.numel():
            tasks_EB = self._tasks_SEB.index_select(0, step_1)[0]
            members_E1 = torch.arange(len(self.configs), device=self.device)[:, None]
            description_E = self._descriptions_SE[tasks_EB, members_E1].flatten(0, 1)
            samples_EB, labels_EB = samples_EB.view(-1, 1), labels_EB.view(-1, 1)
        else:
            changes = len(self._descriptions_SE) > 1
            description_E = self._descriptions_SE.index_select(0, step_1)[0] if changes else self._descriptions_SE[0]
        images = Images(
            images_NI=self._images_NI,
            samples_EB=samples_EB,
            drawn_EB3=self._drawn_SEB3.index_select(0, step_1)[0] if self._augmentation else None,
            tasks=self.tasks[0],
            description_E=description_E,
            dataset=self.dataset,
            constants_2=self._constants_2,
        )
        return images, self.tasks[0].relabel(labels_EB, description_E)

    def _note_divergence(self) -> None:
        """Stop members that diverged in the task just trained, and remember the step."""
        first_step = self.tasks_seen * self.config.steps_per_task
        finite_SE = self._losses_SE.isfinite()
        for e, all_finite in enumerate((finite_SE.all(0) & self.learner.finite()).tolist()):
            if self.diverged_at[e] is None and not all_finite:
                steps_before = int(finite_SE[:, e].long().cumprod(0).sum())
                self.diverged_at[e] = first_step + min(steps_before, self.config.steps_per_task - 1)
                self.curves[e] = [point for point in self.curves[e] if point.step <= first_step]
                for optimiser in self.optimisers:
                    optimiser.freeze(e)
                self.learner.stop(e)

    def _measure(self) -> None:
        """Measure what is due after a task, of each member."""
        for (due, whole), members in self._due().items():
            if not due:
                continue
            tasks, row, kept = list(due), self.tasks_seen - 1, list[int]()
            if self.config.method.measures_once:
                tasks, kept, whole = [row], tasks[:-1], True
            measured = self._answered(tasks, self.tasks_seen, whole=whole)
            places = torch.tensor(members)
            for name, table_EVK in self.measured.items():
                table_EVK[places[:, None], row, tasks] = measured[name][places]
                table_EVK[places[:, None], row, kept] = table_EVK[places[:, None], kept, kept]  # R[i, j] = R[j, j]
            step = self.tasks_seen * self.config.steps_per_task
            if is_moment(self.config, step):
                wanted = [tasks.index(task) for task in curve_tasks(self.config, row)]
                self._note_curve(
                    step, row, {name: values_ET[:, wanted] for name, values_ET in measured.items()}, members
                )

    def _due(self) -> dict[tuple[tuple[int, ...], bool], list[int]]:
        """Which members are measured on which tasks now, and whether on all images.

        It is the same for all of them, but where one of several lengths ends or has a milestone.
        """
        due = defaultdict[tuple[tuple[int, ...], bool], list[int]](list)
        for e, config in enumerate(self.configs):
            if self.diverged_at[e] is None:
                whole = config.eval_samples is None or config.measures_all(self.tasks_seen)
                due[tuple(tasks_to_measure(config, self.tasks_seen)), whole].append(e)
        return due

    def _measure_within(self, step: int) -> None:
        """Measure what `eval_every` asks for after so many steps of the trial, within a task."""
        tasks = curve_tasks(self.config, self.tasks_seen)
        whole = self.config.eval_samples is None or self.config.method.measures_once
        members = [e for e, diverged_at in enumerate(self.diverged_at) if diverged_at is None]
        self._note_curve(step, self.tasks_seen, self._answered(tasks, self.tasks_seen + 1, whole=whole), members)

    def _train_losses(self, step: int, visit: int) -> Tensor:
        """Each member's mean training loss, (E,), over the visit's steps since `eval_every` had something measured."""
        end = step - visit * self.config.steps_per_task
        return self._losses_SE[max(0, end - (self.config.eval_every or 0)) : end].mean(0)

    def _answered(self, tasks: Sequence[int], num_begun: int, *, whole: bool) -> Measured:
        return self.learner.answerer(num_begun).measure(self.held_out(whole=whole), tasks)

    def held_out(self, *, whole: bool) -> HeldOut:
        """The images on which tasks are measured, all or some, found once."""
        most = None if whole else self.config.eval_samples
        if most not in self._held_out:
            self._held_out[most] = HeldOut.of(
                self.tasks,
                self.dataset,
                most=most,
                batch_size=self.config.test_batch_size,
                validation=self.config.dataset.validation if self.config.eval_on == "validation" else None,
            )
        return self._held_out[most]

    def _note_curve(self, step: int, visit: int, measured: Measured, members: Sequence[int]) -> None:
        train_losses = self._train_losses(step, visit).tolist()
        for e in members:
            for t, task in enumerate(curve_tasks(self.config, visit)):
                values = {name: values_ET[e, t].item() for name, values_ET in measured.items()}
                self.curves[e].append(CurvePoint(step, task, {**values, "train_loss": train_losses[e]}))


def train(
    configs: Sequence[Trial],
    *,
    data: str | os.PathLike[str] | None = None,
    device: str = "cpu",
    threads: int = 1,
    progress: bool = True,
    after_task: Callable[[PackTraining], None] = lambda training: None,
) -> list[TrialResult]:
    """Train a pack of trials to the end.

    Args:
        configs: trials of one shape: they may differ in settings that are declared so, such as lr, seed and number of
            tasks, and in contexts that bind by one operation.
        data: the data sets' folder; see `psp_core.datasets.data_root`.
        device: where to train, `cpu` or `cuda`.
        threads: CPU threads, for the time of this call. More than one pays for large networks on idle cores alone:
            where other programs are busy, threads wait for each other, and a step takes ten times as long.
        progress: whether to say on standard error how far it is: one line on a terminal, a line every ten seconds
            elsewhere.
        after_task: called after each task.

    Raises:
        ValueError: configurations that cannot share a pack, data that cannot be had, or fewer than one thread.
    """
    with cpu_threads(threads):
        dataset = load_dataset(configs[0].dataset.name, data)
        line = ProgressLine(len(configs), max(each.num_steps for each in configs), configs[0].steps_per_task)
        results, states = dict[int, TrialResult](), list[dict[str, Any]]()
        while left := [e for e in range(len(configs)) if e not in results]:
            training = PackTraining([configs[e] for e in left], dataset, torch.device(device))
            if states:
                training.load_member_states(states)
            if progress:
                training.after_steps = line
            while not training.done:
                training.train_task()
                after_task(training)
            found = dict(zip(left, training.results(), strict=True))
            results |= {e: one for e, one in found.items() if configs[e].num_visits == training.tasks_seen}
            states = [training.member_state(place) for place, e in enumerate(left) if e not in results]
        line.close()
        return [results[e] for e in range(len(configs))]

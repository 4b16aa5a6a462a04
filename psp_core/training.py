"""Training a pack of trials through its stream, and measuring R[i, j] on the way."""

import os
import time
from collections.abc import Callable, Sequence
from typing import Any, Final

import torch
from torch import Tensor

from psp_core.augmentation import AUGMENTATIONS, augmented
from psp_core.datasets import Dataset, load_dataset
from psp_core.devices import Repeater, arithmetic, cpu_threads
from psp_core.evaluation import measure, task_samples
from psp_core.kept_states import KeptStates
from psp_core.lr_schedules import lr_factors
from psp_core.measuring import CurvePoint, curve_tasks, is_moment, next_moment
from psp_core.methods import METHODS
from psp_core.optimisers import OPTIMISERS, Optimiser
from psp_core.progress import ProgressLine
from psp_core.randomness import generator
from psp_core.result import TrialResult
from psp_core.streams import STREAMS
from psp_core.trial import TrialConfig

STEPS_AT_ONCE: Final = 100
"""Steps that are taken, or given to a GPU, between two looks at how far training is."""

SETTLING_BATCHES: Final = 50
"""Of a task's last batches, on how many a pack measures what its batch norms keep of the task."""

# E members, K tasks, T of them, V visits (tasks trained, those trained again counted again), S steps, B batch,
# N samples, I inputs, P parameters


class PackTraining:
    """Trains E trials of one shape together, task after task.

    A step reads and writes tensors on the device only: the batches of a whole task lie there, and so
    does the number of the step. On a CUDA device it is one graph.

    Numbers are of torch's default type, float32 unless `torch.set_default_dtype` says otherwise.

    Args:
        configs: the members' configurations; they may differ in lr, momentum and seed.
        dataset: their data set, on any device.
        device: where to train.

    Raises:
        ValueError: the configurations differ in more than lr, momentum and seed.
    """

    def __init__(self, configs: Sequence[TrialConfig], dataset: Dataset, device: torch.device) -> None:
        """Draw the members' weights, contexts and tasks."""
        self.config = configs[0]
        self.configs = list(configs)
        if any(config.shape != self.config.shape for config in configs):
            raise ValueError("the members of a pack may differ only in lr, momentum and seed; pack them apart.")
        self.device = device
        self.dataset = dataset.normalised(self.config.normalisation).to(device)
        self.streams = [STREAMS[config.stream].for_trial(config) for config in configs]
        self.pack = METHODS[self.config.method](configs, device)
        self.optimisers = [self._optimiser(self.pack.flat, self.pack.flat_gradients)]
        if self.pack.flat_learned.numel():
            self.optimisers.append(self._optimiser(self.pack.flat_learned, self.pack.flat_learned_gradients))
        comes_back = self.config.method == "psp" and self.config.num_cycles > 1  # what belongs to a task
        comes_back = comes_back and not self.config.trains_all_contexts  # which are never away
        self._kept = [KeptStates(learned) for learned in self.optimisers[1:] if comes_back]
        size = (len(configs), self.config.num_visits, self.config.num_tasks)
        self.accuracy_EVK = torch.full(size, float("nan"), dtype=torch.float64)
        self.loss_EVK = torch.full(size, float("nan"), dtype=torch.float64)
        self.num_samples_EVK = torch.zeros(size, dtype=torch.int64)
        self.inferred_EVK = torch.full_like(self.loss_EVK, float("nan"))
        self.mask_agreement_EVK = torch.full_like(self.loss_EVK, float("nan"))
        self.curves: list[list[CurvePoint]] = [[] for _ in configs]
        self.diverged_at: list[int | None] = [None] * len(configs)
        self.tasks_seen = 0
        self.seconds = 0.0
        self.after_steps: Callable[[int], None] = lambda step: None  # told how many steps of the trial are taken
        self._step_1 = torch.zeros(1, dtype=torch.int64, device=device)
        self._zero_1 = torch.zeros_like(self._step_1)
        size = (self.config.steps_per_task, len(configs), self.config.batch_size)
        self._samples_SEB = torch.zeros(size, dtype=torch.int64, device=device)
        self._augmentation = AUGMENTATIONS[self.config.augmentation]
        self._drawn_SEB3 = torch.zeros((*size, 3) if self._augmentation else 0, dtype=torch.int8, device=device)
        images = self.dataset.train_images
        self._images_NI = images if isinstance(images, Tensor) else torch.empty(0)  # what batches are taken from
        self._labels_N = self.dataset.train_labels
        self._losses_SE = torch.zeros(size[:2], device=device)
        self._descriptions_SE = self._describe(0)
        factors_S = lr_factors(self.config)
        self._lr_factors_S = None if factors_S is None else factors_S.to(device)
        self._repeater = Repeater(device)

    @property
    def done(self) -> bool:
        """Whether all tasks are trained."""
        return self.tasks_seen == self.config.num_visits

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
        self._descriptions_SE.copy_(self._describe(task))
        for e, (config, stream) in enumerate(zip(self.configs, self.streams, strict=True)):
            samples_N = torch.arange(len(self.dataset.train_labels), device=self.device)
            samples_N = task_samples(stream, task, self.dataset.train_labels, samples_N)
            self._samples_SEB[:, e] = samples_N[_batch_order(config, len(samples_N), visit).to(self.device)]
            if self._augmentation:
                self._drawn_SEB3[:, e] = self._augmentation.draw(config, visit).to(self.device)
        self._fetch_images()
        self._begin_optimisers(task)
        self._task = task

    def take_steps(self) -> None:
        """Take all steps of the task that was begun, with each of its contexts in turn."""
        self._step_1.zero_()
        rows, steps = self.config.rows_per_task, self.config.steps_per_task
        before, taken = self.tasks_seen * steps, 0
        for row in range(self._task * rows, (self._task + 1) * rows):
            others = self.pack.begin(row, lambda: self._batch(self._step_1)[0])
            for kept in self._kept:
                kept.begin(row, before + taken)
            for learned in self.optimisers[1:] if not self._kept else ():
                learned.restart(others)  # no optimiser has seen what they train now
            end = taken + steps // rows
            while taken < end:
                until = min(end, taken + STEPS_AT_ONCE, next_moment(self.config, before + taken) - before)
                self._repeater.run(self._step, until - taken)
                taken = until
                self.after_steps(before + taken)
                if taken < steps and is_moment(self.config, before + taken):
                    self._settle(taken)
                    self.pack.keep(row)
                    self._measure_within(before + taken)
            self._settle(taken)
            self.pack.end(row)
            for kept in self._kept:
                kept.end(row, before + taken)

    def results(self) -> list[TrialResult]:
        """Each member's result so far."""
        return [
            TrialResult(
                config=config,
                accuracy=self.accuracy_EVK[e],
                loss=self.loss_EVK[e],
                num_samples=self.num_samples_EVK[e],
                inferred=self.inferred_EVK[e],
                mask_agreement=self.mask_agreement_EVK[e],
                curve=self.curves[e],
                diverged_at=self.diverged_at[e],
                num_params=self.pack.num_params,
                context_bytes_once=self.pack.bytes_once,
                context_bytes_per_task=self.pack.bytes_per_task,
                notes=self.pack.notes(e),
                seconds=self.seconds / len(self.configs),
            )
            for e, config in enumerate(self.configs)
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
            "pack": self.pack.member_state(member),
            "optimisers": [optimiser.member_state(member) for optimiser in self.optimisers],
            "kept": [kept.member_state(member) for kept in self._kept],
            **{name: measured_EVK[member] for name, measured_EVK in self._tables().items()},
            "curve": [tuple(point) for point in self.curves[member]],
            "diverged_at": self.diverged_at[member],
            "tasks_seen": self.tasks_seen,
            "seconds": self.seconds / len(self.configs),
        }

    def load_member_states(self, states: Sequence[dict[str, Any]]) -> None:
        """Go on from what `member_state` gave of each member, in this pack or any other.

        It may be of a trial of fewer tasks, if that is the beginning of the member's (`TrialConfig.is_nested`).

        Raises:
            ValueError: the members have seen different numbers of tasks.
        """
        if len({state["tasks_seen"] for state in states}) > 1:
            raise ValueError("members that go on together must have seen as many tasks each; pack them apart.")
        for e, state in enumerate(states):
            self.pack.load_member_state(e, state["pack"])
            for optimiser, stored in zip(self.optimisers, state["optimisers"], strict=True):
                optimiser.load_member_state(e, stored)
            for kept, stored in zip(self._kept, state["kept"], strict=True):
                kept.load_member_state(e, stored)
            for name, measured_EVK in self._tables().items():
                visits, tasks = state[name].shape
                measured_EVK[e, :visits, :tasks].copy_(state[name])
            self.curves[e] = [CurvePoint(*point) for point in state["curve"]]
            self.diverged_at[e] = state["diverged_at"]
        self.tasks_seen = states[0]["tasks_seen"]
        self.seconds = sum(state["seconds"] for state in states)

    def _tables(self) -> dict[str, Tensor]:
        return {
            "accuracy": self.accuracy_EVK,
            "loss": self.loss_EVK,
            "num_samples": self.num_samples_EVK,
            "inferred": self.inferred_EVK,
            "mask_agreement": self.mask_agreement_EVK,
        }

    def _optimiser(self, parameters_EP: Tensor, gradients_EP: Tensor) -> Optimiser:
        lrs, momenta = ([getattr(config, name) for config in self.configs] for name in ("lr", "momentum"))
        return OPTIMISERS[self.config.optimiser](parameters_EP, gradients_EP, lrs, momenta, self.config.weight_decay)

    def _begin_optimisers(self, task: int) -> None:
        """Choose what is trained in this task, and how fast."""
        is_frozen = self.config.freezes_trunk(task)
        if is_frozen != self.pack.is_frozen:
            self.pack.is_frozen = is_frozen
            self._repeater = Repeater(self.device)  # another step: a graph of the last one would not take it
        for optimiser in self.optimisers[1:]:
            optimiser.set_lrs([config.lr_of(task) for config in self.configs])
        if self.config.trunk == "per-task":
            self.optimisers[0].restart(range(len(self.configs)))

    def _fetch_images(self) -> None:
        """Decode the images of the task's batches, if the data set leaves them in files, and number batches by them."""
        images = self.dataset.train_images
        if isinstance(images, Tensor):
            return
        self._repeater = Repeater(self.device)  # a graph would go on reading the last task's images
        self._images_NI = torch.empty(0)  # which make room first
        used_N, places_SEB = torch.unique(self._samples_SEB, return_inverse=True)
        self._images_NI, self._labels_N = images[used_N], self.dataset.train_labels[used_N]
        self._samples_SEB.copy_(places_SEB)

    def _describe(self, task: int) -> Tensor:
        """What the task is to each member: at each step where it changes, else once: (S or 1, E, ...)."""
        steps = self.config.steps_per_task if self.streams[0].is_continuous else 1
        moments = [[stream.describe(task, step / steps) for stream in self.streams] for step in range(steps)]
        return torch.stack([torch.stack(members) for members in moments]).to(self.device)

    def _settle(self, taken: int) -> None:
        """Have measured what belongs to the task and is not trained, with its weights after so many of its steps."""
        steps = range(max(0, taken - SETTLING_BATCHES), taken)
        self.pack.settle(self._batch(self._zero_1 + step)[0] for step in steps)

    def _step(self) -> None:
        loss_E = self.pack.gradients(*self._batch(self._step_1))
        factor_1 = None if self._lr_factors_S is None else self._lr_factors_S.index_select(0, self._step_1)
        for optimiser in self.optimisers[1 if self.pack.is_frozen else 0 :]:
            optimiser.step(factor_1)
        self._losses_SE.index_copy_(0, self._step_1, loss_E[None])
        self._step_1 += 1

    def _batch(self, step_1: Tensor) -> tuple[Tensor, Tensor]:
        """The inputs (E, B, I) and labels (E, B) of a step of the task that was begun."""
        samples_EB = self._samples_SEB.index_select(0, step_1)[0]
        images_NI = self._images_NI.index_select(0, samples_EB.flatten())
        if self._augmentation:
            drawn_N3 = self._drawn_SEB3.index_select(0, step_1).view(-1, 3)
            images_NI = augmented(images_NI, drawn_N3, self.dataset.shape)
        images_EBI = images_NI.view(*samples_EB.shape, -1)
        moment_1 = step_1 if len(self._descriptions_SE) > 1 else self._zero_1
        description_E = self._descriptions_SE.index_select(0, moment_1)[0]
        x_EBI = self.dataset.normalise(self.streams[0].apply(images_EBI, description_E))
        labels_EB = self._labels_N.index_select(0, samples_EB.flatten()).view_as(samples_EB)
        return x_EBI, self.streams[0].relabel(labels_EB, description_E)

    def _note_divergence(self) -> None:
        """Freeze who diverged in the task just trained, and remember the step."""
        first_step = self.tasks_seen * self.config.steps_per_task
        finite_ES = self._losses_SE.T.isfinite().cpu()
        for e, parameters_finite in enumerate(self.pack.finite().tolist()):
            if self.diverged_at[e] is None and not (parameters_finite and finite_ES[e].all()):
                steps_before = int(finite_ES[e].long().cumprod(0).sum())
                self.diverged_at[e] = first_step + min(steps_before, self.config.steps_per_task - 1)
                self.curves[e] = [point for point in self.curves[e] if point.step <= first_step]
                for optimiser in self.optimisers:
                    optimiser.freeze(e)

    def _measure(self) -> None:
        """Measure what is due after a task."""
        row = self.tasks_seen - 1
        whole = self.config.eval_samples is None or self.config.measures_all(self.tasks_seen)
        tasks, kept = self.config.tasks_to_measure(self.tasks_seen), list[int]()
        if self.config.trunk == "per-task":  # the newest net alone is here, and will never change
            tasks, kept, whole = [row], tasks[:-1], True
        measured = self._measured(tasks, self.tasks_seen, whole=whole)
        places = [self.accuracy_EVK, self.loss_EVK, self.num_samples_EVK, self.inferred_EVK, self.mask_agreement_EVK]
        for e, diverged_at in enumerate(self.diverged_at):
            if diverged_at is None:
                for place_EVK, measured_ET in zip(places, measured, strict=True):
                    place_EVK[e, row, tasks] = measured_ET[e].to(place_EVK.dtype)
                for measured_EVK in places[:3]:
                    measured_EVK[e, row, kept] = measured_EVK[e, kept, kept]  # R[i, j] = R[j, j]
        step = self.tasks_seen * self.config.steps_per_task
        if is_moment(self.config, step):
            wanted = [tasks.index(task) for task in curve_tasks(self.config, row)]
            self._note_curve(step, row, [measured_ET[:, wanted] for measured_ET in measured])

    def _measure_within(self, step: int) -> None:
        """Measure what `eval_every` asks for after so many steps of the trial, within a task."""
        tasks = curve_tasks(self.config, self.tasks_seen)
        whole = self.config.eval_samples is None or self.config.trunk == "per-task"
        self._note_curve(step, self.tasks_seen, self._measured(tasks, self.tasks_seen + 1, whole=whole))

    def _measured(self, tasks: Sequence[int], tasks_begun: int, *, whole: bool) -> tuple[Tensor, ...]:
        most = None if whole else self.config.eval_samples
        return measure(self.pack, self.streams, self.dataset, tasks, self.config, num_begun=tasks_begun, most=most)

    def _note_curve(self, step: int, visit: int, measured: Sequence[Tensor]) -> None:
        accuracy_ET, loss_ET, num_samples_ET, inferred_ET, _ = measured
        for e, curve in enumerate(self.curves):
            if self.diverged_at[e] is None:
                for t, task in enumerate(curve_tasks(self.config, visit)):
                    accuracy, loss, inferred = (of_all[e, t].item() for of_all in (accuracy_ET, loss_ET, inferred_ET))
                    curve.append(CurvePoint(step, task, accuracy, loss, int(num_samples_ET[e, t]), inferred))


def train(
    configs: Sequence[TrialConfig],
    *,
    data: str | os.PathLike[str] | None = None,
    device: str = "cpu",
    threads: int = 1,
    progress: bool = True,
    after_task: Callable[[PackTraining], None] = lambda training: None,
) -> list[TrialResult]:
    """Train a pack of trials to the end.

    Args:
        configs: trials of one shape; they may differ in lr, momentum and seed.
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
        training = PackTraining(configs, load_dataset(configs[0].dataset, data), torch.device(device))
        line = ProgressLine(len(configs), training.config.num_steps, training.config.steps_per_task)
        if progress:
            training.after_steps = line
        while not training.done:
            training.train_task()
            after_task(training)
        line.close()
        return training.results()


def _batch_order(config: TrialConfig, num_samples: int, visit: int) -> Tensor:
    """The places of each step's samples among a task's, shape (S, B): epoch after epoch, each shuffled anew.

    Epochs follow one another without a gap, so a batch may hold the end of one and the start of
    the next. Depends on the seed and on how many tasks came before, not on the method.
    """
    rng = generator(config.seed, "batches", visit)
    wanted = config.steps_per_task * config.batch_size
    epochs = [torch.randperm(num_samples, generator=rng) for _ in range(-(-wanted // num_samples))]
    return torch.cat(epochs)[:wanted].view(config.steps_per_task, config.batch_size)

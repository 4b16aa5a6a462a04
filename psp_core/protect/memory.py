"""A memory of images of earlier tasks, and a batch of it at each step: what replay and A-GEM have alike."""

from collections.abc import Sequence
from typing import ClassVar, Final, Self

import torch
from torch import Tensor

from psp_core.course import Course
from psp_core.datasets import Data
from psp_core.groups import Group, Stretch
from psp_core.growth import Growth
from psp_core.images import Images
from psp_core.kept import Kind
from psp_core.models import Model
from psp_core.networks import Networks
from psp_core.parts import Rule, setting
from psp_core.protect.base import Protection, State, Step
from psp_core.protect.reservoir import kept_samples
from psp_core.randomness import generator
from psp_core.rules import at_least
from psp_core.streams import Stream

# E members, M slots of a memory, S steps, B batch, m images of a memory's batch, I inputs, P shared numbers

TASK_BYTES: Final = 2
"""A task's number as it is stored."""


class WithMemory(Protection):
    """Images that training saw are kept in `budget` bytes, and at each step some of one earlier task are asked about.

    Which images are kept is a reservoir: each image that was trained on so far is there with the same probability. An
    image is kept as the network saw it, after the stream's transformation and augmentation, in a byte for each of its
    numbers, rounded where a stream makes other numbers than bytes; so that nothing of the task has to be drawn again.
    With it lie its label and the number of its task, and all three count.

    A step's batch is of the task of an image drawn at random, with replacement, under the first context and the head of
    that task; tasks are drawn as often as they have images. Only weights that all tasks share learn of it. What is
    drawn depends on the seed and on how much was trained before.

    Source: reservoir sampling is algorithm R of Vitter 1985; as a memory of tasks in Chaudhry et al. 2019, "On tiny
    episodic memories in continual learning". There the memory has images of the task in training too, and a batch
    mixes tasks; here a batch is of one task, whose contexts all its images need, and images come into the memory when
    their task ends.
    """

    numbers: ClassVar[int] = 1
    transient: ClassVar[frozenset[str]] = frozenset({"slots", "rows", "other"})
    asks_earlier_tasks: ClassVar[bool] = True
    kept_as: ClassVar[Kind] = "images"

    budget: int = setting(
        200_000,
        "How many bytes the kept images may take, with their labels and the numbers of their tasks.",
        rule=at_least(1),
        label=" {:g}",
    )
    share: float | None = setting(
        None,
        "The share of `max_bytes` that the kept images may take, in place of `budget`; the network's width takes the "
        "rest.",
        rule=Rule(lambda value: 0 < value < 1, "must lie between 0 and 1, such as 0.5."),
        label=" {:g} of all bytes",
    )
    batch: int | None = setting(
        None, "Images of the memory that each step asks about, m; none for `batch_size`.", rule=at_least(1)
    )

    def check(self, trial: Course) -> None:
        """Refuse a memory without room for an image, a share of nothing, and a batch that cannot be normalised."""
        if self.share is not None and (trial.max_bytes is None or self.budget != type(self).budget):
            raise ValueError(
                f"protect_share={self.share} is of max_bytes={trial.max_bytes}, and stands in place of protect_budget="
                f"{self.budget}: give max_bytes, and leave protect_budget out; or give protect_budget alone."
            )
        if not self.num_slots(trial):
            raise ValueError(
                f"protect={self.name!r}: protect_budget={self.num_bytes(trial)} bytes have no room for an image of "
                f"{self.image_bytes(trial)} bytes: give more."
            )
        model = trial.of(Model)
        if self.num_asked(trial) == 1 and model.leaves_one_pixel(trial):
            raise ValueError(
                f"protect_batch={self.batch}: model={model.name!r} normalises over a batch, and has one pixel left of "
                f"dataset={trial.of(Data).name!r}; give 2 or more."
            )

    def image_bytes(self, trial: Course) -> int:
        """What an image costs: its numbers, its label and its task."""
        return trial.of(Data).sizes.num_inputs + _label_type(trial).itemsize + TASK_BYTES

    def num_bytes(self, trial: Course) -> int:
        """What images may take: `budget`, or a share of all bytes."""
        return self.budget if self.share is None or trial.max_bytes is None else int(self.share * trial.max_bytes)

    def num_slots(self, trial: Course) -> int:
        """M, how many images there is room for."""
        return self.num_bytes(trial) // self.image_bytes(trial)

    def num_asked(self, trial: Course) -> int:
        """The images of the memory's batch, m."""
        return self.batch or trial.batch_size

    def start(self, peers: Sequence[Self], shared: Group, trials: Sequence[Course]) -> State:
        """An empty memory."""
        trial, device, members = trials[0], shared.values_EP.device, len(trials)
        size, steps = (members, self.num_slots(trial)), trial.steps_per_task
        return {
            "seeds": torch.tensor([each.seed for each in trials]),
            "pixels": torch.zeros(*size, trial.of(Data).sizes.num_inputs, dtype=torch.uint8, device=device),
            "labels": torch.zeros(size, dtype=_label_type(trial), device=device),
            "tasks": torch.zeros(size, dtype=torch.int16, device=device),
            "seen": torch.zeros(members, dtype=torch.int64),
            "is_on": shared.values_EP.new_zeros(members, 1),
            "slots": torch.zeros(members, steps, self.num_asked(trial), dtype=torch.int64, device=device),
            "rows": torch.zeros(members, steps, dtype=torch.int64, device=device),
            "other": torch.zeros_like(shared.values_EP),
        }

    def begin(self, state: State, shared: Group, networks: Networks, stretch: Stretch) -> None:
        """Draw which images each step of a task asks about, if there are any."""
        if stretch.index or stretch.phase:
            return
        steps, asked = state["slots"].shape[1:]
        for e, (seed, seen) in enumerate(zip(state["seeds"].tolist(), state["seen"].tolist(), strict=True)):
            if seen:
                tasks_M = state["tasks"][e, :seen].cpu().long()
                task_S, slots_Sm = draw(tasks_M, steps, asked, generator(seed, "memory batches", seen))
                state["rows"][e] = task_S * stretch.count
                state["slots"][e] = slots_Sm

    def ask(self, state: State, step: Step) -> Tensor:
        """The gradients (E, P) of the step's batch of the memory; of an empty one they mean nothing."""
        images = step.batch[0]
        assert isinstance(images, Images), "a step's images come with what normalises them"
        slots_Em = state["slots"].index_select(1, step.number_1)[:, 0]
        row_E = state["rows"].index_select(1, step.number_1)[:, 0]
        pixels_EmI = state["pixels"].gather(1, slots_Em[:, :, None].expand(-1, -1, state["pixels"].shape[2]))
        labels_Em = state["labels"].gather(1, slots_Em).long()
        step.networks.gradients_at(row_E, images.dataset.normalise(pixels_EmI), labels_Em, state["other"])
        return state["other"]

    def end(self, state: State, shared: Group, networks: Networks, stretch: Stretch) -> None:
        """Let the reservoir have the images that the task was trained on."""
        assert stretch.batch is not None
        num_samples, slots = state["rows"].shape[1] * stretch.batch_size, state["labels"].shape[1]
        samples_EM = torch.stack(
            [
                kept_samples(seen, num_samples, slots, generator(seed, "memory", seen))
                for seed, seen in zip(state["seeds"].tolist(), state["seen"].tolist(), strict=True)
            ]
        )
        step_EM = samples_EM // stretch.batch_size
        for number in torch.unique(step_EM[samples_EM >= 0]).tolist():
            images, labels_EB = stretch.batch(number)
            members, places = ((step_EM == number) & (samples_EM >= 0)).nonzero(as_tuple=True)
            samples = samples_EM[members, places] % stretch.batch_size
            state["pixels"][members, places] = _as_bytes(images.pixels()[members, samples])
            state["labels"][members, places] = labels_EB[members, samples].to(state["labels"].dtype)
            state["tasks"][members, places] = stretch.task
        state["seen"] += num_samples
        state["is_on"].fill_(1)

    def kept_bytes(self, trial: Course, num_shared: int) -> Growth:
        """The images; how many depends on no task."""
        return Growth(once=self.num_slots(trial) * self.image_bytes(trial))

    def training_bytes(self, trial: Course, num_shared: int) -> int:
        """The memory, what its batches are, and their gradients."""
        tables = 8 * trial.steps_per_task * (self.num_asked(trial) + 1)
        return super().training_bytes(trial, num_shared) + self.kept_bytes(trial, num_shared).once + tables

    def step_products(self, trial: Course, forward: int, step: int) -> int:
        """A step of the memory's batch."""
        return step * self.num_asked(trial) // trial.batch_size


def draw(tasks_M: Tensor, num_steps: int, num_asked: int, rng: torch.Generator) -> tuple[Tensor, Tensor]:
    """For each step a task of the memory, (S,), and images of it by their slots, (S, m).

    Args:
        tasks_M: the task of each slot that has an image, at least one.
        num_steps: S.
        num_asked: m.
        rng: draws a slot, whose task is taken, and then slots of this task, all with replacement.
    """
    task_S = tasks_M[torch.randint(len(tasks_M), (num_steps,), generator=rng)]
    order_M = tasks_M.argsort(stable=True)
    number_K = tasks_M.bincount()
    first_K = number_K.cumsum(0) - number_K
    shares_Sm = torch.rand(num_steps, num_asked, generator=rng, dtype=torch.float64)
    within_Sm = (shares_Sm * number_K[task_S][:, None]).long()
    return task_S, order_M[first_K[task_S][:, None] + within_Sm]


def _as_bytes(pixels: Tensor) -> Tensor:
    return pixels if pixels.dtype == torch.uint8 else pixels.round().clamp(0, 255).to(torch.uint8)


def _label_type(trial: Course) -> torch.dtype:
    return torch.uint8 if trial.of(Stream).num_outputs(trial.of(Data).sizes) <= 256 else torch.int16

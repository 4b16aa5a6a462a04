"""One trial: a tree of parts that says all that can change its result."""

from collections.abc import Mapping
from functools import cached_property
from typing import Any, ClassVar, Final, Self

from psp_core.accounts import ACCOUNTS, accounts
from psp_core.augmentation import Augmentation
from psp_core.cost import Cost, shared_bytes
from psp_core.course import Course
from psp_core.datasets import Data
from psp_core.experiment import FIRST_KIND, Work
from psp_core.identity import DEFAULTS
from psp_core.kept import total
from psp_core.lr_schedules import LRSchedule
from psp_core.measuring import num_images, num_retrieved, num_tests
from psp_core.methods import Method
from psp_core.models import Model
from psp_core.optimisers import Optimiser
from psp_core.outcome import Outcome
from psp_core.parts import setting
from psp_core.streams import Stream
from psp_core.widest import NoRoomError, widest

FACTS: Final = {
    "nested_tasks": Outcome(bool, "Whether each task is the same whatever their number; null of retrieval."),
    "nested_contexts": Outcome(
        bool, "Whether what belongs to a task, such as its context, is the same whatever their number."
    ),
    "num_labels": Outcome(int, "Labels of a task, of which guessing finds the right one once; null of retrieval."),
    **ACCOUNTS,
}
"""Columns of the store's `trials` that say more of a trial than its settings do."""


class Trial(Course):
    """One network, trained through one stream, with one configuration and one seed.

    The defaults are the settings of paper A on permuting MNIST (papers.md, A3 and A7).

    Raises:
        ValueError: a value breaks its rule, or settings do not go together; the message names setting, value, rule and
            remedy.
    """

    kind: ClassVar[str] = FIRST_KIND
    at_first: ClassVar[Mapping[str, Any]] = DEFAULTS

    dataset: Data = setting("mnist", "The images: for training and for testing.")
    stream: Stream = setting("permuting", "How tasks are made of the data set.")
    augmentation: Augmentation = setting(
        "none",
        "How training images are changed at random: `none`; `flip`, by which left and right change sides in half of "
        "them; or `crop-flip`, which first cuts a part of an image's size out of the image with 4 black pixels "
        "around it.",
    )
    method: Method = setting("psp", "How a network keeps its tasks apart.")
    model: Model = setting("mlp", "The network.")
    optimiser: Optimiser = setting(
        "rmsprop",
        "What moves the weights: one for the whole stream, never reset between tasks, of what all tasks share; a new "
        "one for each task of what belongs to it, which goes on when the task comes back.",
    )
    lr_schedule: LRSchedule = setting("constant", "How the learning rate changes in the course of each task.")

    def __post_init__(self) -> None:
        """Check every setting, then the combinations."""
        super().__post_init__()
        self.dataset.check()
        self.stream.check(self)
        self.model.check(self)
        self.lr_schedule.check(self)
        self.method.check(self)
        self._check_measuring()
        self._check_room()

    @classmethod
    def from_flat(cls, given: Mapping[str, Any]) -> Self:
        """The tree, with the largest width that `max_bytes` has room for where no width is given.

        Raises:
            ValueError: as `Root.from_flat`, or there is no room for any width.
        """
        made, row = super().from_flat, cls.flat(given)
        if row.get("max_bytes") is None or "width" in row:
            return made(given)
        return widest(lambda width: made({**row, "width": width}))

    def _check_room(self) -> None:
        if self.max_bytes is not None and self.kept_bytes > self.max_bytes:
            raise NoRoomError(
                f"max_bytes={self.max_bytes} has no room for the {self.kept_bytes} bytes that have to be kept at "
                f"width={self.width} after num_tasks={self.num_tasks}: give more bytes or fewer tasks, or leave out "
                "the width."
            )

    def _check_measuring(self) -> None:
        if self.eval_on == "validation" and not self.dataset.validation:
            raise ValueError(
                "eval_on='validation' needs a validation part: say how many training images are kept away from "
                "training, such as validation=5000."
            )
        if self.eval_samples is not None and self.eval_samples > num_images(self):
            raise ValueError(
                f"eval_samples={self.eval_samples} is more than the {num_images(self)} {self.eval_on} images of "
                f"dataset={self.dataset.name!r}; leave it out to use them all."
            )
        if self.milestones and self.milestones[-1] >= self.num_tasks:
            raise ValueError(
                f"milestones={self.milestones} must lie below num_tasks={self.num_tasks}, "
                "whose measurement is always complete."
            )
        if self.eval_from is not None and (self.eval_every is None or self.eval_from > self.eval_every):
            raise ValueError(
                f"eval_from={self.eval_from} says after how many steps the first of the measurements is made that "
                f"eval_every={self.eval_every} repeats: give eval_every, and an eval_from that is not larger."
            )
        if self.eval_every is not None and not self.method.can_measure_within:
            raise ValueError(
                f"eval_every={self.eval_every} does not apply to method={self.method.name!r}, which can answer for a "
                "task when its training has ended; leave it out."
            )
        by_batch = self.method.answers_by_batch or self.model.normalises == "static"
        if self.test_batch_size != type(self).test_batch_size and not by_batch:
            raise ValueError(
                f"test_batch_size={self.test_batch_size} does not apply to model={self.model.name!r}, "
                f"norm={self.model.normalises!r}, whose answers do not depend on the batch; leave it out, or use a "
                "convolutional model with norm 'static'."
            )

    def shared(self) -> dict[str, Any]:
        """And the number of tasks, where the members' tasks come back or are not begun one by one."""
        is_alike = self.num_cycles > 1 or self.method.needs_one_length
        return super().shared() | ({"num_tasks": self.num_tasks} if is_alike else {})

    @cached_property
    def cost(self) -> Cost:
        """What it costs: arithmetic and memory."""
        return self.method.cost(self)

    @property
    def kept_bytes(self) -> int:
        """Bytes to keep after all tasks, to answer them and to go on learning."""
        return total(self.cost.kept).after(self.num_tasks)

    @property
    def member_bytes(self) -> int:
        """Memory that one more member of its pack needs."""
        return self.cost.member_bytes(self)

    def shared_bytes(self, device: str) -> int:
        """The data set, and what is measured at once."""
        return shared_bytes(self, device)

    @property
    def most_members(self) -> int | None:
        """Several networks with convolutions take longer together than one by one."""
        return 1 if self.model.convolves else None

    @property
    def facts(self) -> dict[str, object]:
        """The columns FACTS."""
        return {
            "nested_tasks": self.stream.is_nested,
            "nested_contexts": self.method.has_nested_contexts,
            "num_labels": self.stream.num_outputs(self.dataset.sizes),
            **accounts(self, self.cost),
        }

    @property
    def stored_name(self) -> str:
        """By the method."""
        return self.method.stored_name

    @property
    def data_name(self) -> str:
        """By the data set."""
        return self.dataset.name

    @property
    def is_nested(self) -> bool:
        """Whether neither tasks, nor what the method keeps of them, depend on how many there are."""
        return self.stream.is_nested and self.method.is_nested and self.num_cycles == 1

    @property
    def curve_of(self) -> dict[str, str]:
        """By the method."""
        return self.method.pieces()

    def work(self, tasks_before: int = 0) -> Work:
        """Steps, and measurements between them."""
        cost, tests, networks = self.cost, num_tests(self), num_retrieved(self)
        if tasks_before:
            passed = tuple(milestone for milestone in self.milestones if milestone < tasks_before)
            before = self.with_length(tasks_before, passed)
            tests, networks = tests - num_tests(before), networks - num_retrieved(before)
        return Work(
            num_steps=self.num_steps - tasks_before * self.steps_per_task,
            num_tasks=self.num_visits - tasks_before,
            ending_products=cost.ending_products,
            batch_size=self.batch_size,
            step_products=cost.step_products,
            step_activations=cost.num_activations,
            step_numbers=cost.trunk_size,
            step_bound=cost.bound_weights,
            is_rounded=self.precision == "bfloat16",
            drawing_products=cost.drawing_products,
            networks=networks,
            network_products=cost.retrieving_products,
            network_numbers=cost.retrieving_numbers,
            tests=tests,
            test_products=cost.measuring_products,
            test_activations=cost.num_activations * cost.measuring_products // max(1, cost.retrieved_products),
        )


def TrialConfig(**settings: object) -> Trial:
    """A trial from settings by their short names: `TrialConfig(width=64, context="complex")`; see `Trial`."""
    return Trial.from_flat(settings)


def replace(trial: Trial, **settings: object) -> Trial:
    """The trial with other settings, by their short names; those of parts that it no longer has go.

    Raises:
        ValueError: as `Trial.from_flat`.
    """
    return trial.replaced(**settings)

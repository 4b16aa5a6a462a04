"""What an experiment is: a root of parts that a study declares, plans, runs and stores, whatever it measures."""

import dataclasses
from abc import abstractmethod
from functools import cached_property
from typing import Any, ClassVar, Final, Self

from psp_core.parts import LISTED_IN
from psp_core.root import Root

AXES: Final = ("width", "lr", "seed", "num_tasks")
"""What figures show of an experiment, beside its curves."""

FIRST_KIND: Final = "training"
"""The kind of a study that says none, which ids do not name: the only one when the first trials were stored."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Work:
    """What the time of one trial is made of.

    Attributes:
        num_steps: of a pack, whatever its size.
        num_tasks: that begin, of a pack.
        ending_products: multiplications when a task ends.
        batch_size: samples of a step.
        step_products: multiplications of one sample in a step.
        step_activations: numbers of one sample that a step makes.
        step_numbers: numbers that an optimiser moves in a step.
        step_bound: numbers of weights that a step binds, beside what products do.
        is_rounded: whether the operands of products are rounded to 16 bits.
        drawing_products: multiplications to draw what tasks have of their own: once for all members of a seed.
        networks: how often a network is retrieved to be measured.
        network_products: multiplications to retrieve it.
        network_numbers: numbers that are read to retrieve it.
        tests: test samples that are measured.
        test_products: multiplications of each.
        test_activations: numbers that each makes.
    """

    num_steps: int
    num_tasks: int = 0
    ending_products: int = 0
    batch_size: int = 0
    step_products: int = 0
    step_activations: int = 0
    step_numbers: int = 0
    step_bound: int = 0
    is_rounded: bool = False
    drawing_products: int = 0
    networks: int = 0
    network_products: int = 0
    network_numbers: int = 0
    tests: int = 0
    test_products: int = 0
    test_activations: int = 0


@dataclasses.dataclass(frozen=True, order=True)
class Length:
    """How far a trial goes.

    Attributes:
        num_tasks: K.
        milestones: after how many tasks before the last everything is measured on all images.
    """

    num_tasks: int
    milestones: tuple[int, ...] = ()

    @property
    def whole_at(self) -> set[int]:
        """After how many tasks everything is measured on all images."""
        return {self.num_tasks, *self.milestones}


class Experiment(Root):
    """One trial of a study: settings that are parts, by short names or nested.

    Every setting has a short name, its column in the trial store. Of any trial the value of any setting can be read by
    that name, `trial.width`; where a setting of the first schema does not apply, that is its default.

    Attributes:
        kind: what studies call this kind of experiment.
    """

    kind: ClassVar[str]

    def __getattr__(self, name: str) -> Any:  # noqa: ANN401 - any setting's value
        """A setting's value by its short name, as stores have it."""
        if name.startswith("_") or name not in (values := self.row):
            raise AttributeError(f"a trial has no setting {name!r}; {LISTED_IN} lists all")
        return values[name]

    @cached_property
    def row(self) -> dict[str, Any]:
        """All settings as a row of the trial store."""
        return {**self.at_first, **self.columns()}

    @cached_property
    def shape(self) -> frozenset[tuple[str, Any]]:
        """What all members of a pack have alike, as its parts say (`Part.shared`)."""
        return frozenset(self.shared().items())

    @property
    def curve_of(self) -> dict[str, str]:
        """What a curve's label says of each setting, in order; joined they are the label."""
        return self.pieces()

    @property
    def setup(self) -> dict[str, Any]:
        """The settings that tell experiments apart: not at their defaults, and neither an axis nor in the label."""
        said = {*self.curve_of, *AXES}
        return {column: value for column, value in self.apart().items() if column not in said}

    @property
    def stored_name(self) -> str:
        """What the column `method` of the store says."""
        return self.kind

    @property
    def data_name(self) -> str | None:
        """The data set that it needs, if any."""
        return None

    @property
    @abstractmethod
    def num_visits(self) -> int:
        """The pieces in which it runs, after each of which its state can be kept."""

    @property
    def num_steps(self) -> int:
        """Optimiser steps of the whole trial; 0 where nothing is trained."""
        return 0

    @property
    def is_nested(self) -> bool:
        """Whether a trial of fewer tasks is the beginning of this one."""
        return False

    @property
    def most_members(self) -> int | None:
        """The most trials that may run together on a CPU core; None where their arithmetic alone decides."""
        return None

    @property
    def facts(self) -> dict[str, object]:
        """Columns of the store that say more of a trial than its settings do."""
        return {}

    @property
    def always_measures_all(self) -> bool:
        """Whether each measurement is of all that there is."""
        return True

    @property
    def length(self) -> Length:
        """Its number of tasks, and its milestones."""
        return Length(self.row["num_tasks"], self.row.get("milestones", ()))

    def with_length(self, num_tasks: int, milestones: tuple[int, ...] = ()) -> Self:
        """The same trial with another number of tasks, and with these milestones."""
        return dataclasses.replace(self, num_tasks=num_tasks, milestones=milestones)  # type: ignore[call-arg]

    @property
    @abstractmethod
    def member_bytes(self) -> int:
        """Memory that one more member of its pack needs."""

    def shared_bytes(self, device: str) -> int:
        """Memory that its pack needs whatever its size."""
        return 0

    @abstractmethod
    def work(self, tasks_before: int = 0) -> Work:
        """What its time is made of, but for so many tasks at its beginning."""

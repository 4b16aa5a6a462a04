"""The course of a trial: how many tasks and steps it has, what is measured and when; the rest of it are parts."""

from functools import cached_property
from typing import Literal, TypeVar

from psp_core.experiment import Experiment
from psp_core.parts import Part, setting
from psp_core.rules import at_least

P = TypeVar("P", bound=Part)


class Course(Experiment):
    """What a trial has beside its parts, and how a part finds the others: as much of a trial as its parts see.

    `psp_core.trial.Trial` completes it. Parts get a Course, so that no part has to know what a whole trial is made of.
    """

    num_tasks: int = setting(50, "K, how many tasks are trained, one after another.", rule=at_least(1), per_member=True)
    num_cycles: int = setting(1, "How often the stream goes through its tasks.", rule=at_least(1))
    max_bytes: int | None = setting(
        None,
        "The most bytes that may have to be kept after all tasks, to answer them and to go on learning (`kept_bytes`). "
        "Where no width is given, it is the largest for which there is room. None for no limit.",
        rule=at_least(1),
        per_member=True,
    )
    batch_size: int = setting(128, "B, training images of a step.", rule=at_least(1))
    steps_per_task: int = setting(1000, "Steps before the next task begins.", rule=at_least(1))
    eval_tasks: Literal["all", "ends", "first"] = setting(
        "all",
        "What is measured after each task: `all` tasks seen, the `ends` (first and newest), or the `first`. Where each "
        "task has a net of its own, the newest is always measured.",
    )
    eval_on: Literal["test", "validation"] = setting(
        "test",
        "Which images are measured: the `test` images; or the `validation` part of the training images, by which "
        "choices are made.",
    )
    eval_samples: int | None = setting(
        None,
        "Test (or validation) images of each measurement; none for all. All are always used after the last task, at "
        "milestones, and where a task is measured only once.",
        rule=at_least(1),
    )
    eval_every: int | None = setting(
        None,
        "Also measure every so many optimiser steps, within tasks too: task 0, and the task in training unless "
        "`eval_tasks` is `first`. None for after tasks alone.",
        rule=at_least(1),
        tells=False,
    )
    eval_from: int | None = setting(
        None,
        "After how many steps `eval_every` measures first; none for `eval_every`. With 1, it measures with 1, 101, "
        "201, ... steps taken, as paper A's released code does.",
        rule=at_least(1),
        tells=False,
    )
    test_batch_size: int = setting(
        1000,
        "About how many test images are answered together. The number matters where a batch is normalised by its own "
        "statistics (`norm: static`), and for hopsupsup. Where the task is inferred, batches have 128 images.",
        rule=at_least(2),
    )
    milestones: tuple[int, ...] = setting(
        (),
        "Numbers of tasks after which everything is measured as after the last one. `psp run` sets them by itself.",
        tells=False,
        per_member=True,
    )
    precision: Literal["tf32", "float32", "bfloat16"] = setting(
        "tf32",
        "Precision of matrix products: `tf32` where the device has TF32 (CUDA; CPUs take float32), `float32` "
        "everywhere, or `bfloat16` for operands and results. Weights, sums within a product and the optimiser's state "
        "are float32.",
    )
    seed: int = setting(
        0, "Seed of everything random; each random thing has a generator of its own.", rule=at_least(0), per_member=True
    )

    @property
    def num_visits(self) -> int:
        """How many tasks are trained, those trained again counted again."""
        return self.num_cycles * self.num_tasks

    @property
    def num_steps(self) -> int:
        """Optimiser steps of the whole trial."""
        return self.num_visits * self.steps_per_task

    def of(self, family: type[P]) -> P:
        """The trial's part of a family.

        Raises:
            LookupError: this trial has none, as one with masks has no context.
        """
        for part in self._parts:
            if isinstance(part, family):
                return part
        raise LookupError(f"the trial has no {family.__name__}")

    @cached_property
    def _parts(self) -> list[Part]:
        """All parts of the tree: parts ask for one another often."""
        return [value for _, value in self.settings() if isinstance(value, Part)]

    def measures_all(self, tasks_seen: int) -> bool:
        """Whether everything is measured after `tasks_seen` tasks: at milestones and at the end."""
        return tasks_seen == self.num_visits or tasks_seen in self.milestones

    @property
    def always_measures_all(self) -> bool:
        """Whether each measurement is of all tasks seen, on all images."""
        return self.eval_tasks == "all" and self.eval_samples is None

"""Settings that several methods have, and what holds of them in all."""

from abc import abstractmethod
from collections.abc import Mapping
from typing import Any, ClassVar

from psp_core.course import Course
from psp_core.datasets import Data
from psp_core.evaluation import Answerer, Finders, TaskGiven, TaskInferred
from psp_core.inference import Inference, Inferred
from psp_core.methods.base import Method
from psp_core.models import Model
from psp_core.outcome import Outcome
from psp_core.parts import setting
from psp_core.rules import at_least


class InferringMethod(Method):
    """A method whose networks can find out which task a test batch is of, and may have superfluous outputs for that."""

    answers: ClassVar[Mapping[str, Outcome]] = {
        "inferred": Outcome(float, "Share of batches whose task was found; null where the task was given."),
    }

    @property
    @abstractmethod
    def inference(self) -> Inference:
        """Who says which task a test batch is of."""

    @property
    @abstractmethod
    def superfluous(self) -> int:
        """Outputs beside the classes."""

    @property
    def measured(self) -> tuple[str, ...]:
        """`inferred`, where the task is."""
        return () if self.inference.is_given else tuple(self.answers)

    @property
    def extra_outputs(self) -> int:
        """The superfluous ones."""
        return self.superfluous

    def answerer(self, networks: Finders) -> Answerer:
        """Has each task's network answer, or the network of the task that is inferred."""
        return TaskInferred(networks, self.inference) if isinstance(self.inference, Inferred) else TaskGiven(networks)

    def check(self, trial: Course) -> None:
        """Refuse what cannot infer a task."""
        if not isinstance(self.inference, Inferred):
            return
        name, model = self.inference.name, trial.of(Model)
        if model.leaves_one_pixel(trial):
            raise ValueError(
                f"task_inference={name!r}: model={model.name!r} normalises over a batch, and has one pixel left of "
                f"dataset={trial.of(Data).name!r}, so that it cannot be asked by single images; use another model."
            )
        if self.inference.needs_superfluous and not self.superfluous:
            raise ValueError(f"task_inference={name!r} needs superfluous outputs; give some, such as 90.")


def heads_setting() -> Any:  # noqa: ANN401 - a `Heads`' setting
    """Of methods whose networks may have an output layer for each task."""
    return setting(
        "shared",
        "Output layers: `shared`, one for all tasks, with contexts or masks; or `per-task`, one for each task, "
        "without contexts or masks, whose weights and biases are all trained.",
        column="heads",
        label={"per-task": ", head per task"},
    )


def inference_setting() -> Any:  # noqa: ANN401 - an `Inference`'s setting
    """Of methods that can find out which task a batch is of."""
    return setting(
        "given",
        "Who says which task a test batch belongs to: it is `given`; or the network infers it from a mix of all "
        "tasks' masks or contexts, by the `entropy` of the outputs or by the `superfluous` outputs, in one step "
        "(`one-shot`), by `binary` elimination or by `gradient-descent`; or each task's own network is asked "
        "(`entropy-exhaustive`).",
        label=", {}",
    )


def superfluous_setting() -> Any:  # noqa: ANN401 - an int's setting
    """Of the same methods."""
    return setting(
        0,
        "How many outputs there are beside the classes. Training only pushes them down; task inference can use them.",
        rule=at_least(0),
        column="superfluous",
        label=" +{}",
    )

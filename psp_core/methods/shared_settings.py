"""Settings that several methods have, and what holds of them in all."""

from typing import Any, Final

from psp_core.course import Course
from psp_core.datasets import Data
from psp_core.inference import Inference, Inferred
from psp_core.models import Model
from psp_core.outcome import Outcome
from psp_core.parts import setting
from psp_core.rules import at_least

INFERRED: Final = {
    "inferred": Outcome(float, "Share of batches whose task was found; null where the task was given."),
}
"""What a method measures that can infer tasks."""


def heads_setting() -> Any:  # noqa: ANN401 - a `Heads`' setting
    """Of methods whose networks may have an output layer for each task."""
    return setting(
        "shared",
        "Output layers: `shared`, one for all tasks, with contexts or masks; or `per-task`, one for each, without, "
        "all of whose weights and biases are trained.",
        column="heads",
        label={"per-task": ", head per task"},
    )


def inference_setting() -> Any:  # noqa: ANN401 - an `Inference`'s setting
    """Of methods that can find out which task a batch is of."""
    return setting(
        "given",
        "Who says which task a test batch is of: it is `given`, or inferred from a mix of all tasks' masks or "
        "contexts, by the `entropy` of the outputs or by the `superfluous` ones, in `one-shot`, by `binary` "
        "elimination or by `gradient-descent`; `entropy-exhaustive` asks every task's own network instead.",
        label=", {}",
    )


def superfluous_setting() -> Any:  # noqa: ANN401 - an int's setting
    """Of the same methods."""
    return setting(
        0,
        "Outputs beside the classes, which training only pushes down.",
        rule=at_least(0),
        column="superfluous",
        label=" +{}",
    )


def check_inference(trial: Course, inference: Inference, superfluous: int) -> None:
    """Refuse what cannot infer a task.

    Raises:
        ValueError: the message names setting, value, rule and remedy.
    """
    if not isinstance(inference, Inferred):
        return
    model = trial.of(Model)
    if model.convolves and any(layer.positions == 1 for layer in model.hidden_sizes(trial)):
        raise ValueError(
            f"task_inference={inference.name!r}: model={model.name!r} normalises over a batch, and has one pixel left "
            f"of dataset={trial.of(Data).name!r}, so that it cannot be asked by single images; use another model."
        )
    if inference.needs_superfluous and not superfluous:
        raise ValueError(f"task_inference={inference.name!r} needs superfluous outputs; give some, such as 90.")

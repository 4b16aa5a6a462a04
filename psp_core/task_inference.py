"""How a trial's network is told, or finds out, which task a test batch is of: the settings, and what they come to."""

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Final

from psp_core.contexts import CONTEXTS
from psp_core.models import MODELS
from psp_core.settings import refuse_chosen
from psp_core.supermasks.inference import ALGORITHMS, Algorithm, exhaustive, gradient_descent
from psp_core.supermasks.objectives import OBJECTIVES, Objective

if TYPE_CHECKING:
    from psp_core.trial import TrialConfig

QUESTION: Final = 128
"""Samples in a batch whose task is inferred (papers.md, B3)."""

GIVEN: Final = "given"
DESCENT: Final = "gradient-descent"
EXHAUSTIVE: Final = "entropy-exhaustive"
TASK_INFERENCE: Final = (
    GIVEN,
    *(f"{objective}-{algorithm}" for objective in OBJECTIVES for algorithm in (*ALGORITHMS, DESCENT)),
    EXHAUSTIVE,
)
INFERENCE_LAYERS: Final = ("all", "first")
INFERENCE_SETTINGS: Final = (
    "inference_images",
    "inference_layers",
    "inference_lr",
    "inference_steps",
    "shared_labels",
)
"""Those that say more of how a task is inferred, and mean nothing where it is given."""


@dataclass(frozen=True, kw_only=True)
class TaskInference:
    """How the task of a batch is found.

    Attributes:
        objective: what falls when the right task gets more weight.
        algorithm: how the task that lowers it most is found.
        num_real: how many of the outputs are classes.
        first_layer_only: whether the first layer's contexts alone are asked.
    """

    objective: Objective
    algorithm: Algorithm
    num_real: int
    first_layer_only: bool

    @classmethod
    def for_trial(cls, config: "TrialConfig") -> "TaskInference":
        """A trial's; its task must not be given."""
        objective, name = config.task_inference.split("-", 1)
        algorithm = {**ALGORITHMS, "exhaustive": exhaustive}.get(name)
        if algorithm is None:
            assert name == DESCENT
            assert config.inference_lr
            assert config.inference_steps
            algorithm = partial(gradient_descent, lr=config.inference_lr, num_steps=config.inference_steps)
        return cls(
            objective=OBJECTIVES[objective],
            algorithm=algorithm,
            num_real=config.num_outputs,
            first_layer_only=config.inference_layers == "first",
        )


def check_task_inference(config: "TrialConfig") -> None:
    """Refuse what cannot infer a task, and what does not apply.

    Raises:
        ValueError: the message names setting, value, rule and remedy.
    """
    if config.method == "psp" and (config.superfluous or config.task_inference != GIVEN):
        _check_contexts(config)
    if config.task_inference == GIVEN:
        remedy = "have the task inferred, such as by 'entropy-one-shot'"
        refuse_chosen(config, INFERENCE_SETTINGS, "task_inference='given'", remedy)
        return
    if any(layer.positions == 1 for layer in config.layers[:-1] if MODELS[config.model].has_norms):
        raise ValueError(
            f"task_inference={config.task_inference!r}: model={config.model!r} normalises over a batch, and has one "
            f"pixel left of dataset={config.dataset!r}, so that it cannot be asked by single images; use another model."
        )
    if config.task_inference.startswith("superfluous") and not config.superfluous:
        raise ValueError(f"task_inference={config.task_inference!r} needs superfluous outputs; give some, such as 90.")
    if config.inference_images > QUESTION:
        raise ValueError(
            f"inference_images={config.inference_images}: a batch has {QUESTION} images; give so many, or fewer."
        )
    descends = config.task_inference.endswith(DESCENT)
    if (config.inference_lr is not None, config.inference_steps is not None) != (descends, descends):
        raise ValueError(
            f"inference_lr={config.inference_lr} and inference_steps={config.inference_steps} with "
            f"task_inference={config.task_inference!r}: gradient descent needs both, others have none."
        )
    if config.inference_layers != "all" and (config.method != "psp" or config.task_inference == EXHAUSTIVE):
        raise ValueError(
            f"inference_layers={config.inference_layers!r} is for gradients with respect to contexts, not for "
            f"method={config.method!r} with task_inference={config.task_inference!r}; leave it out."
        )


def _check_contexts(config: "TrialConfig") -> None:
    asked = f"superfluous={config.superfluous}, task_inference={config.task_inference!r}"
    if not CONTEXTS[config.context].is_mixable:
        mixable = ", ".join(name for name, context in CONTEXTS.items() if context.is_mixable)
        raise ValueError(
            f"{asked}: method='psp' infers a task from a mix of all tasks' contexts, and context={config.context!r} "
            f"has none that can be mixed; leave both out, or use {mixable}, or method 'supsup'."
        )
    if config.heads != "shared" or config.contexts_per_task > 1 or config.schedule != "task":
        raise ValueError(
            f"{asked} with heads={config.heads!r}, contexts_per_task={config.contexts_per_task}, "
            f"schedule={config.schedule!r}: a task is inferred from one context of its own in every layer; use shared "
            "heads, and leave contexts_per_task and schedule out."
        )

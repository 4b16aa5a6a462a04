"""Which networks and contexts a trial can have together."""

from typing import TYPE_CHECKING

from psp_core.contexts import CONTEXTS
from psp_core.layers import check_output_contexts
from psp_core.models import MODELS
from psp_core.schedules import SCHEDULES

if TYPE_CHECKING:
    from psp_core.trial import TrialConfig


def check_model(config: "TrialConfig") -> None:
    """Refuse sizes and heads that a model cannot have.

    Raises:
        ValueError: the message names settings, values, rule and remedy.
    """
    model = MODELS[config.model]
    if config.depth != type(config).depth and not model.has_depth:  # a ResNet-18 has 18 layers
        raise ValueError(f"depth={config.depth} does not apply to model={config.model!r}; leave it out.")
    if config.depth == 0 and config.model != "mlp":
        raise ValueError(f"depth=0: model={config.model!r} needs at least one convolution; give more.")
    if not model.has_width and config.width != type(config).width:
        raise ValueError(f"width={config.width} does not apply to model={config.model!r}; leave it out.")
    if config.depth == 0 and config.width != type(config).width:
        raise ValueError(f"width={config.width} does not apply at depth=0, a single layer; leave it out.")
    if CONTEXTS[config.context].is_complex and (model.needs_real_context or config.heads != "shared"):
        raise ValueError(
            f"context={config.context!r} is complex; model={config.model!r} with heads={config.heads!r} needs a real "
            "one: use 'binary', or model 'mlp' with shared heads."
        )
    if (
        config.heads == "per-task"
        and not any(layer.has_context for layer in config.layers)
        and config.context != "none"
    ):
        raise ValueError(
            f"context={config.context!r} does not apply: at depth=0 with heads='per-task' no layer has contexts; "
            "use 'none', or give a depth."
        )
    if config.heads == "per-task" and config.rows_per_task > 1:
        raise ValueError("heads='per-task' needs one context for each task: leave out contexts_per_task and schedule.")


def check_contexts(config: "TrialConfig") -> None:
    """Refuse contexts that do not fit the network, and what does not apply to them.

    Raises:
        ValueError: the message names settings, values, rule and remedy.
    """
    context = CONTEXTS[config.context]
    if config.learned_contexts and not context.is_learnable:
        raise ValueError(
            f"learned_contexts=true does not apply to context={config.context!r}, which has no numbers of its "
            "own for each task; leave it out, or use another context."
        )
    if config.output_contexts:
        check_output_contexts(context)
    if config.channel_contexts and (context.is_trivial or not MODELS[config.model].has_norms):
        raise ValueError(
            f"channel_contexts=true with context={config.context!r}, model={config.model!r}: it is about the contexts "
            "of convolutions; leave it out, or use 'binary' and a convolutional model."
        )
    if context.is_trivial and (config.contexts_per_task > 1 or config.schedule != "task"):
        raise ValueError(
            f"contexts_per_task and schedule do not apply to context={config.context!r}: leave them out, "
            "or use another context."
        )
    SCHEDULES[config.schedule].check(config.context)
    if config.output_contexts and config.schedule != "task":
        raise ValueError(
            f"schedule={config.schedule!r} combines contexts of inputs; output_contexts=true has others: leave out "
            "one of both."
        )
    if config.learned_contexts and SCHEDULES[config.schedule].draws:
        raise ValueError(
            f"learned_contexts=true does not apply to schedule={config.schedule!r}, which takes contexts by chance; "
            "leave out one."
        )
    if config.steps_per_task % config.contexts_per_task:
        raise ValueError(
            f"contexts_per_task={config.contexts_per_task} must divide steps_per_task={config.steps_per_task}, "
            "so that each is used for as many steps."
        )
    for layer in config.layers:
        size = config.context_size(layer)
        most = context.max_tasks(size) if layer.has_context else None
        if most is not None and config.num_contexts > most:
            raise ValueError(
                f"context={config.context!r} has {most} different contexts for a layer of {size} inputs; "
                f"num_tasks={config.num_tasks} of contexts_per_task={config.contexts_per_task} need "
                f"{config.num_contexts}: give fewer, a larger width, or use 'binary'."
            )

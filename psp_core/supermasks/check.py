"""Which settings of a trial go with supermasks, and which with nothing else."""

from typing import TYPE_CHECKING, Final

from psp_core.settings import refuse_chosen

if TYPE_CHECKING:
    from psp_core.trial import TrialConfig

SETTINGS: Final = ("frozen_weights", "masks", "sparsity", "transfer", "new_mask_eps", "steps_per_decision")


def check_supermasks(config: "TrialConfig") -> None:
    """Refuse settings of supermasks without them, and what they cannot do.

    Raises:
        ValueError: the message names settings, values, rule and remedy.
    """
    if config.method != "supsup":
        refuse_chosen(config, SETTINGS, f"method={config.method!r}", "use 'supsup'")
        return
    if config.context != "none" or (config.num_cycles > 1 and config.new_mask_eps is None):
        raise ValueError(
            f"context={config.context!r}, num_cycles={config.num_cycles}: method='supsup' keeps tasks apart by masks, "
            "each trained once; use context 'none' and, unless new_mask_eps is given, one cycle."
        )
    if config.heads == "per-task":
        _check_heads(config)
    if config.precision != "tf32":
        raise ValueError(f"precision={config.precision!r}: method='supsup' has 'tf32' alone so far; leave it out.")
    if (config.masks == "top-k") != (config.sparsity is not None):
        raise ValueError(
            f"sparsity={config.sparsity} and masks={config.masks!r}: top-k masks need it, others have none."
        )
    if config.new_mask_eps is not None:
        _check_unidentified(config)
    elif config.steps_per_decision != type(config).steps_per_decision:
        raise ValueError(
            f"steps_per_decision={config.steps_per_decision} applies where new_mask_eps is given; leave it out."
        )


def _check_heads(config: "TrialConfig") -> None:
    if config.depth == 0:
        raise ValueError(
            "heads='per-task' at depth=0: method='supsup' has no layer left that masks could choose from; give a depth."
        )
    if config.superfluous or config.task_inference != "given":
        raise ValueError(
            f"superfluous={config.superfluous}, task_inference={config.task_inference!r} with heads='per-task': a task "
            "is inferred from a mix of masks in every layer, the last one's too; use shared heads, or leave both out."
        )


def _check_unidentified(config: "TrialConfig") -> None:
    if not config.task_inference.endswith("one-shot") or config.transfer != "random" or config.optimiser == "adam":
        raise ValueError(
            f"new_mask_eps={config.new_mask_eps} with task_inference={config.task_inference!r}, "
            f"transfer={config.transfer!r}, optimiser={config.optimiser!r}: masks are found by 'entropy-one-shot' or "
            "'superfluous-one-shot', begin with random scores, and are trained by 'rmsprop' or 'sgd', whose state "
            "one mask can have anew without the others."
        )
    if not config.shared_labels:
        raise ValueError(
            f"new_mask_eps={config.new_mask_eps} needs shared_labels=true: where no task has a name, no mask is the "
            "wrong one."
        )
    if config.norm != "static":
        raise ValueError(
            f"new_mask_eps={config.new_mask_eps} with norm={config.norm!r}: statistics are a task's, and no task "
            "is told; use 'static'."
        )
    if config.steps_per_task % config.steps_per_decision:
        raise ValueError(
            f"steps_per_decision={config.steps_per_decision} must divide steps_per_task={config.steps_per_task}; give "
            "another of the two."
        )

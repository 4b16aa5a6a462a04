"""What trains the trunk, the weights that all tasks share: the rivals of supermasks, and their bounds."""

from typing import TYPE_CHECKING, Final

from psp_core.contexts import CONTEXTS

if TYPE_CHECKING:
    from psp_core.trial import TrialConfig

TRUNKS: Final = {
    "shared": "every task",
    "first-task": "task 0, and then it is frozen",
    "random": "nothing: it is frozen as it was drawn",
    "per-task": "each task its own, which begins as the one before ended and is kept as it ends",
}
"""What trains it. Frozen are shared biases too; heads of a task and its trained contexts never are.

Source: Separate Heads, BatchE, their RandW forms, and Upper Bound of paper B (papers.md, B3 and B4).
"""


def check_trunk(config: "TrialConfig") -> None:
    """Refuse a trunk that the other settings do not fit.

    Raises:
        ValueError: names what does not fit, and the remedy.
    """
    if config.later_lr is not None and config.trunk != "first-task":
        raise ValueError(
            f"later_lr={config.later_lr} does not apply to trunk={config.trunk!r}, which every task meets alike; "
            "leave it out, or use 'first-task'."
        )
    if config.trunk == "shared":
        return
    if config.method != "psp":
        raise ValueError(f"trunk={config.trunk!r} does not apply to method={config.method!r}; leave it out.")
    if config.num_cycles > 1:
        raise ValueError(
            f"num_cycles={config.num_cycles} does not apply to trunk={config.trunk!r}, under which a task is trained "
            "once; leave it out, or use 'shared'."
        )
    if config.trunk == "per-task":
        if config.heads != "shared" or not CONTEXTS[config.context].is_trivial:
            raise ValueError(
                f"context={config.context!r}, heads={config.heads!r} do not apply to trunk='per-task', where nothing "
                "is shared that they could keep apart; use context 'none' and shared heads."
            )
    elif config.heads != "per-task" and not config.learned_contexts:
        raise ValueError(
            f"trunk={config.trunk!r} leaves tasks nothing to train once it is frozen; give heads='per-task' or "
            "learned_contexts=true, or use 'shared'."
        )

"""What has to be kept of a trial when its training is over: bytes, by what they are kept for."""

from collections.abc import Iterable, Mapping
from typing import Final, Literal, get_args

from psp_core.growth import Growth
from psp_core.outcome import Outcome

Kind = Literal["weights", "contexts", "masks", "heads", "statistics", "protection", "images", "scores"]
KINDS: Final[tuple[Kind, ...]] = get_args(Kind)
FOR_LEARNING: Final[frozenset[Kind]] = frozenset({"protection", "images", "scores"})
"""What later tasks need and no answer does."""

Kept = Mapping[Kind, Growth]
"""Bytes of each kind; a kind that is missing takes none. A trained number takes 4, what a seed gives again none."""

_TEXTS: Final[dict[Kind, str]] = {
    "weights": "the weights and biases that are trained, but for heads; frozen ones are a seed",
    "contexts": "contexts: fixed ones as they are drawn, such as a bit for each sign; trained ones by their numbers",
    "masks": "what says which weights or units a task uses, as bits; or the Hopfield networks that hold it",
    "heads": "the output layers that belong to single tasks",
    "statistics": "the means and variances that batch norms have of single tasks",
    "protection": "what a protection remembers: Fisher information, anchors, bases, another network",
    "images": "training images that are stored, with their labels",
    "scores": "the numbers that later tasks' masks begin with",
}
_WHOLE: Final[dict[str, str]] = {
    "kept": "all that must be kept to answer every task and to learn further ones as the trial would. The optimiser's "
    "state is not counted: it is not needed to answer, and another optimiser can go on",
    "answer": "what must be kept to answer every task: `kept_bytes` without what learning alone needs",
}

COLUMNS: Final[dict[str, Outcome]] = {
    f"{name}_bytes{which}": Outcome(int, f"Bytes {when} of {text}.", is_large=True)
    for name, text in [*_WHOLE.items(), *_TEXTS.items()]
    for which, when in (("", "after all tasks,"), ("_per_task", "that one more task adds,"))
}
"""Columns of the store's `trials`."""


def total(kept: Kept, kinds: Iterable[Kind] = KINDS) -> Growth:
    """All of these kinds together."""
    found = Growth()
    for kind in kinds:
        found = found.plus(kept.get(kind, Growth()))
    return found


def columns(kept: Kept, num_tasks: int) -> dict[str, int]:
    """The values of COLUMNS after so many tasks."""
    for_answers = [kind for kind in KINDS if kind not in FOR_LEARNING]
    whole = {"kept": total(kept), "answer": total(kept, for_answers)}
    row: dict[str, int] = {}
    for name, growth in [*whole.items(), *((kind, kept.get(kind, Growth())) for kind in KINDS)]:
        row |= {f"{name}_bytes": growth.after(num_tasks), f"{name}_bytes_per_task": growth.per_task}
    return row

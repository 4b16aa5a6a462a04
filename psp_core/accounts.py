"""What each trial of the store has cost, or will cost: numbers trained, bytes kept, operations."""

from typing import Final

from psp_core import kept
from psp_core.cost import Cost
from psp_core.course import Course
from psp_core.outcome import Outcome

_OPERATIONS: Final = (
    "A multiplication and an addition count as two. Counted are products of matrices and convolutions; not what is "
    "done number by number: biases, activations, norms, contexts of one number for each input, optimisers, penalties"
)

ACCOUNTS: Final = {
    "num_trained": Outcome(
        int,
        "Real numbers that training moves, each once: those that all tasks share, and every task's own heads, contexts "
        "and scores of masks.",
        is_large=True,
    ),
    **kept.COLUMNS,
    "train_flops": Outcome(
        int,
        "Floating-point operations of the whole training, all of its tasks and cycles, and of what a protection "
        f"measures when a task ends; without tests. {_OPERATIONS}.",
        is_large=True,
    ),
    "answer_flops": Outcome(
        int, f"Floating-point operations to answer one image whose task is given. {_OPERATIONS}.", is_large=True
    ),
    "find_flops": Outcome(
        int,
        "Floating-point operations to find out, among all of the trial's tasks, which one a question is of, beside "
        "answering; a question has `inference_images` images, and of hopsupsup one of a batch of 64. 0 where the task "
        f"is given. {_OPERATIONS}.",
        is_large=True,
    ),
}
"""Columns of the store's `trials` that are known before a trial runs."""


def accounts(trial: Course, cost: Cost) -> dict[str, int]:
    """The values of ACCOUNTS."""
    of_steps = trial.num_steps * trial.batch_size * cost.step_products
    return {
        "num_trained": cost.trained.after(trial.num_tasks),
        **kept.columns(cost.kept, trial.num_tasks),
        "train_flops": 2 * (of_steps + trial.num_visits * cost.ending_products),
        "answer_flops": 2 * cost.answering_products,
        "find_flops": 2 * cost.finding_products,
    }

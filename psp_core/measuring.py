"""When a trial is measured, and on which tasks: after each task, and every so many steps within tasks."""

from typing import TYPE_CHECKING, NamedTuple

from psp_core.datasets import DATASETS

if TYPE_CHECKING:
    from psp_core.trial import TrialConfig


class CurvePoint(NamedTuple):
    """What was measured of one task after so many optimiser steps, wherever in the stream that is.

    Attributes:
        step: optimiser steps taken by then, of the whole trial.
        task: which.
        accuracy: a fraction.
        loss: mean cross-entropy in nats.
        num_samples: test samples behind both.
        inferred: in what share of batches the task was inferred rightly; NaN where it was given.
    """

    step: int
    task: int
    accuracy: float
    loss: float
    num_samples: int
    inferred: float


def usual_tasks(config: "TrialConfig", tasks_seen: int) -> list[int]:
    """What `eval_tasks` asks for after `tasks_seen` tasks, were this no milestone and not the end."""
    if config.eval_tasks == "all":
        return list(range(min(tasks_seen, config.num_tasks)))
    newest = (tasks_seen - 1) % config.num_tasks
    return sorted({0, newest}) if config.eval_tasks == "ends" or config.trunk == "per-task" else [0]


def next_moment(config: "TrialConfig", step: int) -> int:
    """After how many steps, more than `step`, `eval_every` has something measured next.

    With `eval_every` n and `eval_from` f that is after f, f + n, f + 2 n, ... steps; beyond the trial's last step where
    it is not given.
    """
    if config.eval_every is None:
        return config.num_steps + step + 1
    first = config.eval_from or config.eval_every
    return step + 1 + (first - step - 1) % config.eval_every


def is_moment(config: "TrialConfig", step: int) -> bool:
    """Whether `eval_every` has something measured after so many steps."""
    return next_moment(config, step - 1) == step


def curve_tasks(config: "TrialConfig", visit: int) -> list[int]:
    """The tasks that are measured within a visit: task 0, and the one being trained unless `eval_tasks` is `first`."""
    newest = visit % config.num_tasks
    if config.trunk == "per-task":  # the newest net alone is there
        return [newest]
    return [0] if config.eval_tasks == "first" else sorted({0, newest})


def num_curve_points(config: "TrialConfig") -> int:
    """How many (step, task) pairs `eval_every` has measured, but for those that are measured after a task anyway."""
    if config.eval_every is None:
        return 0
    steps, pairs = config.steps_per_task, 0
    for visit in range(config.num_visits):
        first, end = next_moment(config, visit * steps), (visit + 1) * steps
        pairs += len(range(first, end, config.eval_every)) * len(curve_tasks(config, visit))
    return pairs


def check_measuring(config: "TrialConfig") -> None:
    """Refuse measurements that cannot be made.

    Raises:
        ValueError: the message names setting, value, rule and remedy.
    """
    num_test = DATASETS[config.dataset].num_test
    if config.eval_samples is not None and config.eval_samples > num_test:
        raise ValueError(
            f"eval_samples={config.eval_samples} is more than the {num_test} test images of "
            f"dataset={config.dataset!r}; leave it out to use them all."
        )
    if config.milestones and config.milestones[-1] >= config.num_tasks:
        raise ValueError(
            f"milestones={config.milestones} must lie below num_tasks={config.num_tasks}, "
            "whose measurement is always complete."
        )
    if config.eval_from is not None and (config.eval_every is None or config.eval_from > config.eval_every):
        raise ValueError(
            f"eval_from={config.eval_from} says after how many steps the first of the measurements is made that "
            f"eval_every={config.eval_every} repeats: give eval_every, and an eval_from that is not larger."
        )
    if config.eval_every is not None and config.method == "hopsupsup":
        raise ValueError(
            f"eval_every={config.eval_every} does not apply to method='hopsupsup', which stores a task's masks "
            "when its training has ended; leave it out."
        )
    if config.eval_every is not None and config.new_mask_eps is not None:
        raise ValueError(
            f"eval_every={config.eval_every} does not apply with new_mask_eps={config.new_mask_eps}: which mask is a "
            "task's is known when its training has ended; leave it out."
        )

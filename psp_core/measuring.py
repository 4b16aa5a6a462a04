"""When a trial is measured, and on which tasks: after each task, and every so many steps within tasks."""

from collections.abc import Mapping
from typing import NamedTuple

from psp_core.course import Course
from psp_core.datasets import Data
from psp_core.methods import Method
from psp_core.streams import Stream


class CurvePoint(NamedTuple):
    """What was measured of one task after so many optimiser steps, wherever in the stream that is.

    Attributes:
        step: optimiser steps taken by then, of the whole trial.
        task: which.
        measured: by column: `accuracy` (a fraction), `loss` (nats), `num_samples`, what the method adds, and
            `train_loss` (nats), which is of the task in training.
    """

    step: int
    task: int
    measured: Mapping[str, float]


def tasks_to_measure(trial: Course, tasks_seen: int) -> list[int]:
    """The tasks whose accuracy is measured after `tasks_seen` tasks."""
    if trial.of(Method).mixes_tasks and tasks_seen < trial.num_visits:
        return []
    if trial.measures_all(tasks_seen):
        return list(range(min(tasks_seen, trial.num_tasks)))
    return usual_tasks(trial, tasks_seen)


def usual_tasks(trial: Course, tasks_seen: int) -> list[int]:
    """What `eval_tasks` asks for after `tasks_seen` tasks, were this no milestone and not the end."""
    if trial.eval_tasks == "all":
        return list(range(min(tasks_seen, trial.num_tasks)))
    newest = (tasks_seen - 1) % trial.num_tasks
    return sorted({0, newest}) if trial.eval_tasks == "ends" or trial.of(Method).measures_once else [0]


def next_moment(trial: Course, step: int) -> int:
    """After how many steps, more than `step`, `eval_every` has something measured next.

    With `eval_every` n and `eval_from` f that is after f, f + n, f + 2 n, ... steps; beyond the trial's last step where
    `eval_every` is not given.
    """
    if trial.eval_every is None:
        return trial.num_steps + step + 1
    first = trial.eval_from or trial.eval_every
    return step + 1 + (first - step - 1) % trial.eval_every


def is_moment(trial: Course, step: int) -> bool:
    """Whether `eval_every` has something measured after so many steps."""
    return next_moment(trial, step - 1) == step


def is_within(trial: Course, step: int) -> bool:
    """Whether `eval_every` has something measured after so many steps that is not measured after a task anyway."""
    tasks, more = divmod(step, trial.steps_per_task)
    return is_moment(trial, step) and (more > 0 or not tasks_to_measure(trial, tasks))


def curve_tasks(trial: Course, visit: int) -> list[int]:
    """The tasks that are measured within a visit: task 0, and the one being trained unless `eval_tasks` is `first`."""
    newest = visit % trial.num_tasks
    if trial.of(Method).measures_once:  # of the others there is nothing to be measured now
        return [newest]
    return [0] if trial.eval_tasks == "first" else sorted({0, newest})


def num_curve_points(trial: Course) -> int:
    """How many (step, task) pairs `eval_every` has measured, but for those that are measured after a task anyway."""
    if trial.eval_every is None:
        return 0
    steps, pairs = trial.steps_per_task, 0
    for visit in range(trial.num_visits):
        first, end = next_moment(trial, visit * steps), (visit + 1) * steps
        end += not tasks_to_measure(trial, visit + 1)
        pairs += len(range(first, end, trial.eval_every)) * len(curve_tasks(trial, visit))
    return pairs


def num_images(trial: Course) -> int:
    """The images on which a task of all classes is measured: the test images, or the validation part."""
    data = trial.of(Data)
    return data.validation if trial.eval_on == "validation" else data.sizes.num_test


def num_tests(trial: Course) -> int:
    """Samples that are measured in all, over tasks and boundaries; of a split stream, about."""
    data = trial.of(Data).sizes
    whole = num_images(trial) * trial.of(Stream).num_classes(data) // data.num_classes
    some = min(trial.eval_samples or whole, whole)
    in_part, in_whole = _num_measured(trial)
    return some * in_part + whole * in_whole


def num_retrieved(trial: Course) -> int:
    """How often a task's network is retrieved to be measured: (boundary, task) pairs, and points of curves."""
    return sum(_num_measured(trial))


def _num_measured(trial: Course) -> tuple[int, int]:
    """How many (boundary, task) pairs are measured on some samples, and how many on all images."""
    last, most = trial.num_visits, trial.num_tasks
    if trial.of(Method).measures_once:
        return 0, most + num_curve_points(trial)
    if trial.of(Method).mixes_tasks:
        return num_curve_points(trial), most
    usual = {
        "all": most * (most + 1) // 2 + (last - most) * most,
        "ends": 2 * last - -(-last // most),
        "first": last,
    }[trial.eval_tasks]
    instead = [(min(seen, most), len(usual_tasks(trial, seen))) for seen in (*trial.milestones, last)]
    in_part = usual + num_curve_points(trial) - sum(few for _, few in instead)
    return in_part, sum(every for every, _ in instead)

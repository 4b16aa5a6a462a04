"""(k) Where a study's time goes: beginning a task, its steps, measuring all tasks seen, and copying a checkpoint."""

import statistics
import time
from collections.abc import Callable, Iterator

import torch

from benchmarks.steps import members_of
from benchmarks.timing import Row, synchronise
from psp_core.datasets import Dataset
from psp_core.datasets.made_up import made_up
from psp_core.devices import arithmetic
from psp_core.held_out import HeldOut
from psp_core.training import PackTraining
from psp_core.trial import Trial, TrialConfig, replace
from study.worker import copied_states

TASKS = 4
"""That are timed, after one that is not: libraries tune and graphs are captured then."""


def measure(device: torch.device, *, quick: bool) -> Iterator[Row]:
    """One row for each pack: milliseconds of each phase, and the steps' share of a study's time.

    A study of K tasks measures (K + 1) / 2 of them after each task in the mean, on the whole test set or on 1000
    images. A checkpoint is written beside training: the copy that is written is what holds training up, and not counted
    in the shares, as there is one in ten seconds at most.
    """
    data = made_up("mnist")
    for trial, num_members in _cases(device, quick=quick):
        named: Row = {"width": trial.width, "context": trial.context, "members": num_members}
        yield (
            named
            | {"tasks": trial.num_tasks, "steps": trial.steps_per_task}
            | phases_of(trial, num_members, data, device)
        )


def _cases(device: torch.device, *, quick: bool) -> list[tuple[Trial, int]]:
    base = TrialConfig(num_tasks=50, steps_per_task=1000)
    if device.type == "cuda" and not quick:
        sizes = [(256, "binary", 64), (256, "none", 64), (256, "complex", 64), (256, "rotation", 64)]
        sizes += [(256, "binary", 1), (2000, "binary", 3), (2048, "binary", 16), (2048, "rotation", 9)]
        return [(replace(base, width=width, context=context), number) for width, context, number in sizes]
    small = replace(base, num_tasks=5, steps_per_task=20 if quick else 100, width=64)
    return [(small, 2), *([] if quick else [(small, 8), (replace(small, width=256), 2)])]


def phases_of(trial: Trial, num_members: int, data: Dataset, device: torch.device) -> Row:
    """The phases of one pack, see `measure`."""
    members = members_of(trial, num_members)
    start = time.perf_counter()
    training = PackTraining(members, data, device)
    synchronise()
    setup = time.perf_counter() - start
    every, batch_size = range(trial.num_tasks), trial.test_batch_size
    whole, some = (
        HeldOut.of(training.tasks, training.dataset, most=most, batch_size=batch_size) for most in (None, 1000)
    )
    answerer = training.learner.answerer(trial.num_tasks)
    phases: dict[str, Callable[[int], object]] = {
        "begin": training.begin_task,
        "steps": lambda task: training.take_steps(),
        "whole": lambda task: answerer.measure(whole, every),
        "some": lambda task: answerer.measure(some, every),
        "checkpoint": lambda task: copied_states(training),
    }
    seconds: dict[str, list[float]] = {name: [] for name in phases}
    with arithmetic(trial.precision, device):
        for task in range(1 + min(TASKS, trial.num_tasks - 1)):
            for name, phase in phases.items():
                synchronise()
                start = time.perf_counter()
                phase(task)
                synchronise()
                seconds[name].append(time.perf_counter() - start)
    of = {name: statistics.median(times[1:]) for name, times in seconds.items()}
    seen = (trial.num_tasks + 1) / 2 / trial.num_tasks
    shares = {name: of["steps"] / (of["begin"] + of["steps"] + seen * of[name]) for name in ("whole", "some")}
    return {
        "setup_s": setup,
        "begin_ms": 1e3 * of["begin"],
        "steps_ms": 1e3 * of["steps"],
        "all_on_10000_ms": 1e3 * of["whole"],
        "all_on_1000_ms": 1e3 * of["some"],
        "checkpoint_ms": 1e3 * of["checkpoint"],
        "steps/all, 10000": shares["whole"],
        "steps/all, 1000": shares["some"],
    }

"""(f) Measuring R against training: all tasks seen, on the whole test set, after each of 50 tasks."""

from collections.abc import Iterator
from functools import partial

import torch

from benchmarks.steps import STEPS
from benchmarks.timing import Row, interleaved
from psp_core.datasets.made_up import made_up
from psp_core.devices import arithmetic
from psp_core.held_out import HeldOut
from psp_core.measuring import num_tests
from psp_core.training import PackTraining
from psp_core.trial import TrialConfig


def measure(device: torch.device, *, quick: bool) -> Iterator[Row]:
    """The time of all measurements of a trial at the default settings, over that of its training steps."""
    data = made_up("mnist")
    for width in (64,) if quick else (64, 256):
        for context in ("none", "binary", "complex", "rotation"):
            trial = TrialConfig(width=width, context=context, num_tasks=8, steps_per_task=STEPS)
            training = PackTraining([trial], data, device)
            training.begin_task(0)
            answerer = training.learner.answerer(8)
            held_out = HeldOut.of(training.tasks, training.dataset, most=None, batch_size=trial.test_batch_size)
            with arithmetic(trial.precision, device):
                seconds = interleaved(
                    {
                        "steps": training.take_steps,
                        "tests": partial(answerer.measure, held_out, range(8)),
                    },
                    quick=quick,
                )
            whole = TrialConfig(width=width, context=context)
            step, test = seconds["steps"] / STEPS, seconds["tests"] / 8 / len(data.test_labels)
            yield {
                "width": width,
                "context": context,
                "step_ms": 1e3 * step,
                "task_measured_ms": 1e3 * test * len(data.test_labels),
                "measuring/training": num_tests(whole) * test / (whole.num_steps * step),
            }

"""(f) Measuring R against training: all tasks seen, on the whole test set, after each of 50 tasks."""

from collections.abc import Iterator

import torch

from benchmarks.steps import STEPS, made_up
from benchmarks.timing import Row, interleaved
from psp_core.cost import num_tests
from psp_core.devices import arithmetic
from psp_core.evaluation import evaluate
from psp_core.training import PackTraining
from psp_core.trial import TrialConfig


def measure(device: torch.device, *, quick: bool) -> Iterator[Row]:
    """The time of all measurements of a trial at the default settings, over that of its training steps."""
    data = made_up("mnist")
    samples = torch.arange(len(data.test_labels), device=device)
    for width in (64,) if quick else (64, 256):
        for context in ("none", "binary", "complex", "rotation"):
            trial = TrialConfig(width=width, context=context, num_tasks=8, steps_per_task=STEPS)
            training = PackTraining([trial], data, device)
            training.begin_task(0)
            with arithmetic(trial.precision, device):
                seconds = interleaved(
                    {
                        "steps": training.take_steps,
                        "tests": lambda training=training: evaluate(
                            training.pack, training.streams, training.dataset, samples, range(8)
                        ),
                    }
                )
            whole = TrialConfig(width=width, context=context)
            step, test = seconds["steps"] / STEPS, seconds["tests"] / 8 / len(samples)
            yield {
                "width": width,
                "context": context,
                "step_ms": 1e3 * step,
                "task_measured_ms": 1e3 * test * len(samples),
                "measuring/training": num_tests(whole) * test / (whole.num_steps * step),
            }

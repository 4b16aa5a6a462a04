"""(a) A training step against the floor of its bare matrix products."""

from collections.abc import Iterator
from typing import Final

import torch

from benchmarks.floor import floor
from benchmarks.timing import Row, interleaved
from psp_core.datasets import Dataset
from psp_core.datasets.made_up import made_up
from psp_core.devices import Repeater, arithmetic
from psp_core.training import PackTraining
from psp_core.trial import Trial, TrialConfig, replace
from study.plan import MAX_PRODUCTS

STEPS: Final = 20  # in one call
LARGEST: Final = {"cpu": (6e7, 2**33), "cuda": (1e12, 2**36)}
"""Multiplications per sample, and bytes, beyond which a pack is left out: on a CPU its step takes seconds, and the
planner never makes such a pack."""


def measure(device: torch.device, *, quick: bool) -> Iterator[Row]:
    """One row for each shape: milliseconds of a step, its floor, and their ratio."""
    widths = [64] if quick else [64, 128, 256, 512, 1024, 2048]
    cases = [("digits", width) for width in (32, 64)] + [("mnist", width) for width in widths]
    for dataset, width in cases:
        data = made_up(dataset)
        for context in ("none", "binary", "complex", "rotation"):
            for num_members in (1, 4) if quick else (1, 4, 16, 64):
                trial = TrialConfig(dataset=dataset, width=width, context=context, num_tasks=1, steps_per_task=STEPS)
                products, memory = LARGEST[device.type]
                if num_members * trial.cost.step_products > products or num_members * trial.member_bytes > memory:
                    continue
                yield {"dataset": dataset, "width": width, "context": context, "members": num_members} | _measure(
                    trial, num_members, data, device, quick=quick
                )


def members_of(trial: Trial, number: int) -> list[Trial]:
    """So many trials for one pack: their learning rates differ, and they have three seeds, as studies have."""
    return [replace(trial, seed=e % 3, lr=trial.lr / (1 + e)) for e in range(number)]


def _measure(trial: Trial, num_members: int, data: Dataset, device: torch.device, *, quick: bool) -> Row:
    training = PackTraining(members_of(trial, num_members), data, device)
    training.begin_task(0)
    products, repeater = floor(trial, num_members, device), Repeater(device)
    with arithmetic(trial.precision, device):
        seconds = interleaved(
            {"step": training.take_steps, "floor": lambda: repeater.run(products, STEPS)}, quick=quick
        )
    step, bare = seconds["step"] / STEPS / num_members, seconds["floor"] / STEPS / num_members
    row: Row = {"step_ms": 1e3 * step, "floor_ms": 1e3 * bare, "ratio": step / bare}
    if device.type == "cpu":
        row["planned"] = num_members == 1 or num_members * trial.cost.step_products <= MAX_PRODUCTS
    return row

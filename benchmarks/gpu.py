"""(l) What a GPU should reach. Before: 2026-11-27, one NVIDIA H200, torch 2.11."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache, cached_property, partial
from typing import Final

import torch

from benchmarks.aims import Aim, rows
from benchmarks.floor import floor, optimiser_pass
from benchmarks.phases import phases_of
from benchmarks.plain_loop import InMemoryLoop
from benchmarks.steps import members_of
from benchmarks.timing import Row, interleaved
from psp_core.datasets import Dataset
from psp_core.datasets.made_up import made_up
from psp_core.devices import Repeater, arithmetic
from psp_core.training import PackTraining
from psp_core.trial import Trial, TrialConfig

TASKS: Final = 50  # of a study
QUICK: Final = {
    "dataset": "digits", "stream": "permuting", "width": 8, "batch_size": 8, "steps_per_task": 3, "num_tasks": 4,
    "eval_samples": 100,
}  # fmt: skip


@dataclass(frozen=True)
class Bench:
    """What all measures need.

    Attributes:
        device: where to measure.
        quick: whether everything is tiny, which says only that it runs.
    """

    device: torch.device
    quick: bool

    def trial(self, steps: int = 200, **settings: object) -> Trial:
        """A trial of so many steps a task; MNIST if nothing else is said."""
        settings = {"num_tasks": 1, "steps_per_task": steps, **settings}
        return TrialConfig(**settings | (QUICK if self.quick else {}))

    def members(self, number: int) -> int:
        """So many, or two at most."""
        return min(number, 2) if self.quick else number

    def pack(self, trial: Trial, members: int) -> PackTraining:
        """A pack of so many trials."""
        configs = members_of(trial, self.members(members))
        return PackTraining(configs, _data(trial.data_name), self.device)

    @cached_property
    def phases(self) -> Row:
        """Where the time of a study of 64 trials goes."""
        trial = self.trial(1000, width=256, num_tasks=TASKS)
        return phases_of(trial, self.members(64), _data(trial.data_name), self.device)

    def seconds(self, functions: dict[str, Callable[[], object]]) -> dict[str, float]:
        """Median seconds of a call of each; they take turns."""
        return interleaved(functions, quick=self.quick)


@cache
def _data(name: str) -> Dataset:
    return made_up(name)


def stepping(training: PackTraining) -> Callable[[], None]:
    """Takes the steps of a task, in the trial's own precision."""
    training.begin_task(0)

    def run() -> None:
        with arithmetic(training.config.precision, training.device):
            training.take_steps()

    return run


def step_over_floor(bench: Bench, *, members: int, steps: int = 200, **settings: object) -> float:
    """A step's time over that of its bare products and of one pass of the optimiser at the memory's speed."""
    training = bench.pack(bench.trial(steps, **settings), members)
    trial, repeater = training.config, Repeater(bench.device)
    products, moves = floor(trial, len(training.configs), bench.device), optimiser_pass(training)

    def bare() -> None:
        products()
        moves()

    def bare_steps() -> None:
        with arithmetic(trial.precision, bench.device):
            repeater.run(bare, trial.steps_per_task)

    seconds = bench.seconds({"step": stepping(training), "bare": bare_steps})
    return seconds["step"] / seconds["bare"]


def bfloat16_gain(bench: Bench) -> float:
    """How many times as fast a step is in bfloat16 as in tf32."""
    packs = {p: bench.pack(bench.trial(width=256, precision=p), 64) for p in ("tf32", "bfloat16")}
    seconds = bench.seconds({precision: stepping(training) for precision, training in packs.items()})
    return seconds["tf32"] / seconds["bfloat16"]


def over_loop(bench: Bench, members: int) -> float:
    """How many steps a pack takes, of all its members, in the time of one of a loop over tensors in memory."""
    trial = bench.trial(width=256)
    training, loop = bench.pack(trial, members), InMemoryLoop(trial, _data(trial.data_name), bench.device)
    seconds = bench.seconds({"ours": stepping(training), "loop": lambda: loop.train(0)})
    return len(training.configs) * seconds["loop"] / seconds["ours"]


def resnet_ms(bench: Bench, precision: str) -> float:
    """Milliseconds of a step of one ResNet-18 of the paper's width on incremental CIFAR, batch 128."""
    trial = bench.trial(
        50, dataset="cifar-10-100", stream="incremental", model="resnet-18", width=64, precision=precision
    )
    return 1000 * bench.seconds({"steps": stepping(bench.pack(trial, 1))})["steps"] / trial.steps_per_task


def _floors() -> Iterator[Aim[Bench]]:
    for members, width, context, before, reach in (
        (64, 256, "binary", 1.95, 1.3),
        (64, 256, "none", 1.69, 1.2),
        (64, 256, "complex", 3.4, 1.5),
        (64, 256, "rotation", 1.47, 1.25),
        (128, 64, "binary", 3.4, 1.6),
        (16, 2048, "binary", 1.23, 1.1),
        (16, 2048, "complex", 1.86, 1.3),
    ):
        what = f"step / (products + optimiser), width {width}, {context}, {members} members"
        yield Aim(what, before, reach, partial(step_over_floor, members=members, width=width, context=context))


AIMS: Final[list[Aim[Bench]]] = [
    *_floors(),
    Aim("bfloat16's speed / tf32's, width 256, binary, 64 members", 0.71, 1.4, bfloat16_gain, is_falling=False),
    Aim(
        "share of a study that is steps, 64 trials of 50 tasks, all images measured",
        0.6,
        0.8,
        lambda bench: float(bench.phases["steps/all, 10000"]),  # type: ignore[arg-type]
        is_falling=False,
    ),
    Aim(
        "share of a study that is steps, 64 trials of 50 tasks, 1000 images measured",
        None,
        0.93,
        lambda bench: float(bench.phases["steps/all, 1000"]),  # type: ignore[arg-type]
        is_falling=False,
    ),
    Aim(
        "one network's speed / a loop's over tensors in memory, width 256",
        14.0,
        25.0,
        partial(over_loop, members=1),
        is_falling=False,
    ),
    Aim(
        "64 members' speed / one such loop's, width 256",
        225.0,
        None,
        partial(over_loop, members=64),
        is_falling=False,
        note="elsewhere: HFTA up to 15.1, vmapped small MLPs 10 to 100",
    ),
    *(
        Aim(f"ms of a step, ResNet-18, width 64, {precision}", None, 6.0, partial(resnet_ms, precision=precision))
        for precision in ("tf32", "bfloat16")
    ),
]


def measure(device: torch.device, *, quick: bool) -> Iterator[Row]:
    """One row for each aim."""
    return rows(AIMS, Bench(device, quick), device)

"""(e) How time grows with the size of a pack, the width, the number of tasks and the number of trials."""

from collections.abc import Callable, Iterator, Sequence
from functools import partial

import torch

from benchmarks.timing import Row, interleaved
from psp_core.datasets import Dataset
from psp_core.datasets.made_up import made_up
from psp_core.training import PackTraining
from psp_core.trial import Trial, TrialConfig, replace
from study.plan import Pack, make_packs
from study.workers import this_machine

Packed = Sequence[Trial]


def measure(device: torch.device, *, quick: bool) -> Iterator[Row]:
    """Seconds of whole trials, evaluation included, as one size grows; the values of one size take turns."""
    for what, sizes, data, packs_of in _sweeps():
        chosen = {size: packs_of(size) for size in sizes[: 2 if quick else None]}
        functions = {str(size): partial(_run, packs, data, device) for size, packs in chosen.items()}
        seconds = interleaved(functions, quick=quick)
        for size, packs in chosen.items():
            taken = seconds[str(size)]
            yield {"what": what, "value": size, "s": taken, "s_per_trial": taken / sum(map(len, packs))}


def _sweeps() -> Iterator[tuple[str, list[int], Dataset, Callable[[int], list[Packed]]]]:
    """The size that grows, its values, the data, and the packs for a value."""
    digits, mnist = made_up("digits"), made_up("mnist")
    small = TrialConfig(dataset="digits", width=32, num_tasks=2, steps_per_task=50)
    wide = TrialConfig(num_tasks=1, steps_per_task=20)

    def seeds(trial: Trial, number: int) -> Packed:
        return [replace(trial, seed=seed) for seed in range(number)]

    yield "members of a pack, digits, width 32", [1, 2, 4, 8, 16, 32, 64], digits, lambda n: [seeds(small, n)]
    widths = [64, 128, 256, 512, 1024, 2048]
    yield "width, mnist, one task of 20 steps", widths, mnist, lambda n: [[replace(wide, width=n)]]
    yield "tasks, digits, pack of 8", [5, 10, 20, 40], digits, lambda n: [seeds(replace(small, num_tasks=n), 8)]
    yield (
        "trials, digits, one worker",
        [16, 64, 256],
        digits,
        lambda n: [trained(pack) for pack in make_packs(seeds(small, n), this_machine())],
    )


def trained(pack: Pack) -> Packed:
    """The members of a pack of a study whose trials are all trained."""
    return [trial for trial in pack.trials if isinstance(trial, Trial)]


def _run(packs: Sequence[Packed], data: Dataset, device: torch.device) -> None:
    for trials in packs:
        training = PackTraining(trials, data, device)
        while not training.done:
            training.train_task()

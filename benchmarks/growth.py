"""(e) How time grows with the size of a pack, the width, the number of tasks and the number of trials."""

from collections.abc import Iterator, Sequence

import torch

from benchmarks.steps import made_up
from benchmarks.timing import Row, interleaved
from psp_core.datasets import Dataset
from psp_core.training import PackTraining
from psp_core.trial import TrialConfig
from study.plan import make_packs
from study.workers import this_machine


def measure(device: torch.device, *, quick: bool) -> Iterator[Row]:
    """Seconds of whole trials, evaluation included, as one thing grows."""
    digits, mnist = made_up("digits"), made_up("mnist")
    small = {"dataset": "digits", "width": 32, "num_tasks": 2, "steps_per_task": 50}
    repeats = 1 if quick else 3

    def timed(packs: Sequence[Sequence[TrialConfig]], data: Dataset) -> float:
        return interleaved({"run": lambda: _run(packs, data, device)}, repeats=repeats)["run"]

    for members in (1, 2, 4, 8, 16, 32, 64):
        seconds = timed([[TrialConfig(**small, seed=seed) for seed in range(members)]], digits)
        yield {"what": "members, digits, width 32", "value": members, "s": seconds, "s_per_trial": seconds / members}
    for width in (64, 256) if quick else (64, 128, 256, 512, 1024, 2048):
        seconds = timed([[TrialConfig(width=width, num_tasks=1, steps_per_task=20)]], mnist)
        yield {"what": "width, mnist, 20 steps", "value": width, "s": seconds, "s_per_trial": seconds}
    for num_tasks in (5, 10, 20) if quick else (5, 10, 20, 40):
        seconds = timed([[TrialConfig(**{**small, "num_tasks": num_tasks}, seed=seed) for seed in range(8)]], digits)
        yield {"what": "tasks, digits, pack of 8", "value": num_tasks, "s": seconds, "s_per_trial": seconds / 8}
    for number in (16, 64) if quick else (16, 64, 256):
        packs = make_packs([TrialConfig(**small, seed=seed) for seed in range(number)], this_machine())
        seconds = timed([pack.trials for pack in packs], digits)
        yield {"what": "trials, digits, one worker", "value": number, "s": seconds, "s_per_trial": seconds / number}


def _run(packs: Sequence[Sequence[TrialConfig]], data: Dataset, device: torch.device) -> None:
    for trials in packs:
        training = PackTraining(trials, data, device)
        while not training.done:
            training.train_task()

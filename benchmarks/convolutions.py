"""(g) Packs of convolutional networks against one at a time."""

from collections.abc import Iterator

import torch

from benchmarks.timing import Row, interleaved
from psp_core.datasets.made_up import made_up
from psp_core.training import PackTraining
from psp_core.trial import TrialConfig, replace

SPLIT = TrialConfig(
    dataset="cifar-10", stream="split", classes_per_task=2, num_tasks=1, steps_per_task=1, lr=1e-3, width=16
)


def measure(device: torch.device, *, quick: bool) -> Iterator[Row]:
    """Milliseconds of a step for each member, batch 128; the sizes of a model's packs take turns."""
    data = made_up("cifar-10")
    models = [replace(SPLIT, model="small-conv", depth=3), replace(SPLIT, model="resnet-18")]
    for trial in models[: 1 if quick else None]:
        trainings = {}
        for num_members in (1, 2, 4)[: 2 if quick else None]:
            configs = [replace(trial, seed=seed) for seed in range(num_members)]
            trainings[num_members] = PackTraining(configs, data, device)
            trainings[num_members].begin_task(0)
        functions = {str(number): training.take_steps for number, training in trainings.items()}
        seconds = interleaved(functions, quick=quick)
        for number in trainings:
            each = 1000 * seconds[str(number)] / number
            alone = 1000 * seconds["1"]
            yield {
                "model": trial.model.name,
                "width": trial.width,
                "members": number,
                "ms_each": each,
                "over_alone": each / alone,
            }

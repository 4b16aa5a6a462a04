"""The accuracies that the papers published, and the settings behind them."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib import resources
from typing import Final

import pandas as pd

from analysis.tables import first_task_by_step, lately, mean_accuracy, newest_tasks


@dataclass(frozen=True, kw_only=True)
class Source:
    """What is known of a published figure beside its values.

    Attributes:
        settings: the settings that its runs share, from the paper's text and the authors' code. Trials with other
            values are another experiment.
        layers: the number of hidden layers, as far as it is known.
        note: what a reader of the values has to know.
    """

    settings: Mapping[str, object]
    layers: str = ""
    note: str = ""

    @property
    def steps_per_task(self) -> int:
        """Optimiser steps before the next task begins."""
        steps = self.settings["steps_per_task"]
        assert isinstance(steps, int)
        return steps


_RMSPROP: Final = {"optimiser": "rmsprop", "momentum": 0.0, "batch_size": 128}
_PERMUTING: Final = {**_RMSPROP, "lr": 1e-4, "steps_per_task": 1000, "num_cycles": 1}
_ADAM: Final = {**_PERMUTING, "permute_first": True, "optimiser": "adam"}
_ROTATING: Final = {**_RMSPROP, "lr": 1e-4, "steps_per_task": 100, "num_tasks": 10, "num_cycles": 50}
_INCREMENTAL: Final = {**_RMSPROP, "lr": 1e-3, "steps_per_task": 20_000, "num_cycles": 1}
_SPLIT: Final = {"optimiser": "adam", "momentum": 0.0, "lr": 1e-3, "steps_per_task": 5000, "num_cycles": 1}
_SPLIT_CIFAR: Final = {**_SPLIT, "batch_size": 128, "classes_per_task": 5, "weight_decay": 1e-4}
_SPLIT_IMAGENET: Final = {**_SPLIT, "batch_size": 256, "classes_per_task": 10, "weight_decay": 0.0}
_PSP_LAYERS: Final = "the paper has 2, its code 3"
_ONE_MORE: Final = (
    "Theirs are measured with one step more taken than is said here, ours too where they have eval_from=1."
)
_PSP_ENDS: Final = "The paper's first and last value are read at steps 900 and 49,900."

SOURCES: Final[dict[str, Source]] = {
    "PSP Fig. 2": Source(settings={**_PERMUTING, "permute_first": False}, layers=_PSP_LAYERS, note=_PSP_ENDS),
    "PSP Fig. 3 left": Source(
        settings={**_PERMUTING, "permute_first": False},
        layers=_PSP_LAYERS,
        note=f"{_PSP_ENDS} In brackets: the ends of the paper's band.",
    ),
    "PSP Fig. 3 right": Source(
        settings={**_PERMUTING, "permute_first": False},
        layers=_PSP_LAYERS,
        note="The paper names no width; about 2000 units would fit.",
    ),
    # Their task 0 is permuted too. To a multi-layer perceptron that makes no difference.
    "SupSup's authors on PSP": Source(
        settings=_PERMUTING, layers="theirs have 2", note="Theirs have no biases, and a new optimiser for each task."
    ),
    "SupSup Fig. 4, LeNet": Source(
        settings={**_PERMUTING, "permute_first": True},
        note="The task of each batch of 128 is inferred from one image; rotations are given it. Theirs have no "
        "biases, and a new optimiser for each task; our rotations have both otherwise.",
    ),
    "SupSup Fig. 4, LeNet: BatchE": Source(
        settings={**_ADAM, "later_lr": 1e-2, "weight_decay": 1e-4},
        note="The task is given. Theirs has no biases.",
    ),
    "SupSup Fig. 4, LeNet: upper bound": Source(
        settings=_ADAM,
        note="Neither paper nor code says how it was trained; Adam at 1e-4, as task 0 of BatchE, is what fits.",
    ),
    "SupSup Fig. 4, FC 1024-1024": Source(settings={**_PERMUTING, "permute_first": True}, layers="theirs has 2"),
    "SupSup Fig. 4, 2500 tasks": Source(
        settings={**_PERMUTING, "permute_first": True},
        note="Where no task is told, theirs skips data once there are 2500 masks.",
    ),
    "SupSup Fig. 5 left": Source(
        settings={**_PERMUTING, "interpolation": "nearest"},
        layers="theirs has 2",
        note="Supermasks infer the task from a whole batch, by binary elimination; rotations are given it.",
    ),
    "SupSup Fig. 2 left": Source(
        settings=_SPLIT_IMAGENET,
        note="One seed and one division of the classes in the paper, whose upper bound has 92.55 % and BatchE 81.50 %.",
    ),
    "SupSup Fig. 2 right": Source(
        settings=_SPLIT_CIFAR,
        note="The paper's text has 77.56 to 89.57 % depending on sparsity, at best 91.66 % with transferred scores. "
        "Theirs crops and flips images and lowers the learning rate by a cosine, as the shipped study does.",
    ),
    "A replication of SupSup Fig. 2 right": Source(settings=_SPLIT_CIFAR, note="Not by the authors (papers.md, B1)."),
    "PSP Figs. 4b and 5": Source(
        settings=_ROTATING,
        layers="the code has 3",
        note=_ONE_MORE,
    ),
    "PSP Fig. 6b": Source(
        settings=_INCREMENTAL,
        note=_ONE_MORE,
    ),
}

# Each function computes accuracies from evals and curves: columns TRIAL, step or tasks_seen, accuracy.
QUANTITIES: Final[dict[str, Callable[[pd.DataFrame, pd.DataFrame], pd.DataFrame]]] = {
    "accuracy of task 0": first_task_by_step,
    "mean accuracy of the last ten tasks": lambda evals, curves: newest_tasks(evals, 10),
    "mean accuracy over all tasks seen": lambda evals, curves: mean_accuracy(evals),
    "accuracy at 0 degrees": first_task_by_step,
    "accuracy at 0 degrees, mean of the last 1000 steps": lambda evals, curves: lately(
        first_task_by_step(evals, curves), 1000
    ),
    "accuracy on CIFAR-10": first_task_by_step,
}


def published() -> pd.DataFrame:
    """Every published value that we know, in the order of the papers.

    Columns source, quantity, dataset, stream, model, depth (NaN where it does not apply), width (NaN where no width is
    named), context (a curve's label), step (optimiser steps), value, low and high (fractions; NaN where not known),
    certainty (~: less certain than the others).
    """
    with resources.files("analysis").joinpath("published.csv").open() as file:
        return pd.read_csv(file)

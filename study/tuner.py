"""Measures how fast this machine's device trains, and fits the planner's rates to it."""

import dataclasses
import datetime
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import torch
from scipy.optimize import nnls

from psp_core.datasets import Dataset, load_dataset
from psp_core.datasets.made_up import made_up
from psp_core.devices import cpu_threads
from psp_core.training import PackTraining
from psp_core.trial import TrialConfig, replace
from study.amounts import amounts_of_row
from study.rates import NAMES, Amounts, Rates, Row, shipped
from study.spec import StudyError
from study.workers import cpu_name, gpu_name

NUM_TASKS: Final = 3
SECONDS_OF_A_TASK: Final = {"cpu": 0.5, "cuda": 0.2}  # of its steps, about
CASES: Final[Mapping[str, Sequence[tuple[Mapping[str, Any], int]]]] = {
    "cpu": [
        ({"dataset": "digits", "width": 16, "context": "binary"}, 1),
        ({"dataset": "digits", "width": 32, "context": "binary"}, 16),
        ({"dataset": "digits", "width": 64, "context": "complex"}, 7),
        ({"dataset": "digits", "width": 128, "context": "none"}, 7),
        ({"dataset": "mnist", "width": 64, "context": "binary"}, 4),
        ({"dataset": "mnist", "width": 64, "context": "rotation"}, 1),
        ({"dataset": "mnist", "width": 256, "context": "complex"}, 1),
        ({"dataset": "mnist", "width": 512, "context": "binary"}, 1),
    ],
    "cuda": [
        ({"dataset": "digits", "width": 32, "context": "binary"}, 3),
        *(({"dataset": "mnist", "width": 256, "context": "binary"}, members) for members in (1, 16, 64, 128)),
        *(({"dataset": "mnist", "width": 256, "context": name}, 64) for name in ("none", "complex", "rotation")),
        ({"dataset": "mnist", "width": 256, "context": "binary", "precision": "bfloat16"}, 64),
        ({"dataset": "mnist", "width": 64, "context": "binary"}, 128),
        ({"dataset": "mnist", "width": 2048, "context": "binary"}, 1),
        ({"dataset": "mnist", "width": 2048, "context": "binary"}, 16),
        ({"dataset": "mnist", "width": 2048, "context": "binary", "precision": "bfloat16"}, 16),
        ({"dataset": "mnist", "width": 2048, "context": "complex"}, 16),
        ({"dataset": "mnist", "width": 2048, "context": "rotation"}, 9),
    ],
}
"""Settings and members of the packs that are measured: few and many members, narrow and wide, each kind of binding."""


def tuned(file: Path | None = None) -> Rates:
    """The rates of this machine's GPU, or of one of its CPU cores where it has none.

    Args:
        file: rates whose rows they are fitted to; None to measure now.

    Raises:
        StudyError: the file is none of rates.
    """
    if file:
        try:
            before = Rates.from_json(file.read_text())
        except (OSError, ValueError) as error:
            raise StudyError(f"rows={str(file)!r} cannot be read: {error}") from None
        return dataclasses.replace(before, rates=fitted(before.rows, before))
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    before = shipped(device.type)
    with cpu_threads(1):
        rows = list(measured(device, before))
    return Rates(
        device=gpu_name() if device.type == "cuda" else cpu_name(),
        kind=device.type,
        date=str(datetime.date.today()),
        how=f"psp tune-planner, torch {torch.__version__}.",
        rates=fitted(rows, before),
        rows=rows,
    )


def measured(device: torch.device, rates: Rates) -> Iterator[Row]:
    """What each case's tasks take, which are trained as in a study.

    Args:
        device: where.
        rates: how fast it is, about: so many steps are taken that a case is over soon.
    """
    data = {"digits": load_dataset("digits"), "mnist": made_up("mnist")}
    for number, (settings, members) in enumerate(CASES[device.type]):
        step = rates.seconds(amounts_of_row(Row(settings=settings, members=members, seconds=0.0, steps=1)))
        steps = max(20, min(1000, round(SECONDS_OF_A_TASK[device.type] / step)))
        course = {**settings, "num_tasks": NUM_TASKS, "steps_per_task": steps}
        yield from _case(course, members, data[settings["dataset"]], device, is_first=number == 0)


def _case(
    settings: Mapping[str, Any], members: int, data: Dataset, device: torch.device, *, is_first: bool
) -> Iterator[Row]:
    trial = TrialConfig(**settings)
    start = time.perf_counter()
    training = PackTraining([replace(trial, seed=e % 3) for e in range(members)], data, device)
    for task in range(NUM_TASKS):
        training.train_task()  # which waits for the device
        now = time.perf_counter()
        begins = int(task == 0)
        yield Row(
            settings=settings,
            members=members,
            seconds=now - start,
            workers=int(is_first) * begins,
            packs=begins,
            drawn=begins,
            tasks=1,
            steps=trial.steps_per_task,
            networks=task + 1,
            tests=(task + 1) * trial.dataset.sizes.num_test,
        )
        start = time.perf_counter()


def fitted(rows: Sequence[Row], before: Rates) -> Amounts:
    """The rates that make the sum of squares of all relative errors the least, none of them negative.

    What no row has anything of keeps its rate.
    """
    amounts_RA = torch.tensor([amounts_of_row(row).values() for row in rows], dtype=torch.float64)
    relative_RA = amounts_RA / torch.tensor([[row.seconds] for row in rows], dtype=torch.float64)
    scale_A = relative_RA.amax(0).clamp(min=1e-300)
    found, _ = nnls((relative_RA / scale_A).numpy(), torch.ones(len(rows), dtype=torch.float64).numpy())
    rates = {
        name: float(rate / scale) if amount else old
        for name, rate, scale, amount, old in zip(
            NAMES, found, scale_A.tolist(), amounts_RA.amax(0).tolist(), before.rates.values(), strict=True
        )
    }
    return Amounts(**{name: float(f"{rate:.4g}") for name, rate in rates.items()})


def beside(rates: Rates) -> list[tuple[str, float, float]]:
    """Each of its rows in words, its measured seconds, and the estimated ones."""
    return [(_words(row), row.seconds, rates.seconds(amounts_of_row(row))) for row in rates.rows]


def _words(row: Row) -> str:
    counts = {name: value for name, value in dataclasses.asdict(row).items() if name not in ("settings", "seconds")}
    said = {**row.settings, **{name: value for name, value in counts.items() if value}}
    return " ".join(f"{name}={value}" for name, value in said.items())

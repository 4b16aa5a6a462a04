"""(b) Trials per hour: packed, one at a time, and through a straightforward loop; with Ray and without."""

import io
import tempfile
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from importlib.util import find_spec
from pathlib import Path

import torch

from benchmarks.growth import trained
from benchmarks.plain_loop import in_memory_trial
from benchmarks.timing import Row, interleaved
from psp_core.datasets import load_dataset
from psp_core.training import train
from psp_core.trial import Trial, TrialConfig
from study.plan import Pack, make_packs
from study.workers import this_machine


def measure(device: torch.device, *, quick: bool) -> Iterator[Row]:
    """Trials per hour of one worker, and of all workers of this machine where Ray is installed."""
    cases = [("digits", 32, 100), ("digits", 64, 100), ("mnist", 64, 50)]
    if device.type == "cuda":
        cases.append(("mnist", 256, 200))
    for dataset, width, steps in cases[: 1 if quick else None]:
        trials = [
            TrialConfig(
                dataset=dataset, width=width, num_tasks=2, steps_per_task=steps, eval_tasks="ends", lr=1e-3, seed=seed
            )
            for seed in range(16)
        ]
        load_dataset(dataset)
        rates = _rates(trials, device, repeats=1 if quick else 3)
        rows = {"dataset": dataset, "width": width, "planned": len(make_packs(trials, this_machine())[0].trials)}
        yield (
            rows
            | rates
            | {
                "packed/alone": rates["pack_of_16"] / rates["alone"],
                "packed/in_memory": rates["pack_of_16"] / rates["in_memory_loop"],
            }
        )
    with_ray = _with_ray(quick=quick)
    if with_ray:
        yield with_ray


def _rates(trials: Sequence[Trial], device: torch.device, *, repeats: int) -> dict[str, float]:
    name = device.type
    functions: dict[str, Callable[[], object]] = {
        "in_memory_loop": lambda: list(map(partial(in_memory_trial, device=device), trials[:4])),
        "alone": lambda: [train([trial], device=name) for trial in trials[:4]],
        "pack_of_16": lambda: train(trials, device=name),
        "planned_packs": lambda: [train(trained(pack), device=name) for pack in make_packs(trials, this_machine())],
    }
    seconds = interleaved(functions, repeats=repeats, seconds=0)
    number = {"in_memory_loop": 4, "alone": 4}
    return {name: 3600 * number.get(name, len(trials)) / taken for name, taken in seconds.items()}


def _with_ray(*, quick: bool) -> Row | None:
    """Trials per hour through the whole engine, on all workers of this machine, without the start of Ray."""
    if find_spec("ray") is None:
        return None

    from study.progress import Display, Tally
    from study.screen import Screen
    from study.store import TrialStore
    from study.tune import Engine
    from study.worker import Job
    from study.workers import Limits

    trials = [
        TrialConfig(dataset="digits", width=32, num_tasks=5, steps_per_task=150, lr=1e-3, seed=seed)
        for seed in range(16 if quick else 128)
    ]
    row: Row = {"dataset": "digits", "width": 32, "with_ray": True}
    datasets = {"digits": load_dataset("digits")}
    with Engine(None) as engine, tempfile.TemporaryDirectory() as folder:
        planned = make_packs(trials, engine.workers)
        ways = {"warm-up": planned, "alone": [Pack((trial,)) for trial in trials], "planned_packs": planned}
        for way, packs in ways.items():
            store = TrialStore(str(Path(folder) / way))
            jobs = [Job(study="bench", pack=pack, store=store.uri) for pack in packs]
            tally = Tally(packs, [], engine.workers)
            engine.run(jobs, datasets, Display(Screen(io.StringIO()), tally), Limits())
            row[way] = 3600 * len(trials) / tally.since_first_pack()
        row["planned"] = len(planned[0].trials)
    del row["warm-up"]
    return row | {"packed/alone": row["planned_packs"] / row["alone"]}  # type: ignore[operator]

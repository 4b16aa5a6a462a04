"""(d) What the engine costs: wall time of a study over its training seconds, spread over the workers."""

import io
import tempfile
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

import pandas as pd
import torch

from benchmarks.timing import Row
from psp_core.datasets import load_dataset
from psp_core.trial import TrialConfig


def measure(device: torch.device, *, quick: bool) -> Iterator[Row]:
    """200 trials on digits; the ratio is 1 where the engine costs nothing and no worker waits."""
    if find_spec("ray") is None:
        return

    from study.plan import make_packs
    from study.progress import Display, Tally
    from study.screen import Screen
    from study.store import TrialStore
    from study.tune import Engine
    from study.worker import Job
    from study.workers import Limits

    trials = [
        TrialConfig(dataset="digits", width=width, context=context, num_tasks=10, steps_per_task=150, lr=1e-3, seed=s)
        for width in (32, 64)
        for context in ("none", "binary", "complex", "rotation")
        for s in range(5 if quick else 25)
    ]
    with Engine(None) as engine, tempfile.TemporaryDirectory() as folder:
        packs = make_packs(trials, engine.workers)
        store = TrialStore(str(Path(folder) / "store"))
        tally = Tally(packs, [], engine.workers)
        jobs = [Job(study="bench", pack=pack, store=store.uri) for pack in packs]
        engine.run(jobs, {"digits": load_dataset("digits")}, Display(Screen(io.StringIO()), tally), Limits())
        wall = tally.since_first_pack()  # the first pack begins when its worker is up
        training = pd.read_parquet(Path(folder) / "store" / "trials")["seconds"].sum()
    even = training / engine.workers.count
    yield {
        "trials": len(trials),
        "packs": len(packs),
        "workers": engine.workers.count,
        "training_s": training,
        "wall_s": wall,
        "wall/even": wall / even,
    }

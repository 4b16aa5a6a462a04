import subprocess
import sys
from math import prod
from pathlib import Path

import pytest
import torch

from benchmarks.floor import step_shapes
from benchmarks.timing import interleaved
from psp_core import TrialConfig, train
from psp_core.contexts import CONTEXTS, get_context
from psp_core.trial import replace

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize("depth", [0, 1, 2, 3])
@pytest.mark.parametrize("context", CONTEXTS)
def test_the_floor_has_the_products_that_the_plan_counts(context: str, depth: int) -> None:
    trial = TrialConfig(dataset="digits", context=context, num_tasks=1, **({"width": 32} if depth else {}), depth=depth)
    counted = sum(prod(shape) for shape in step_shapes(trial))
    assert counted == trial.batch_size * trial.cost.step_products


@pytest.mark.parametrize("context", CONTEXTS)
def test_a_pack_computes_no_more_products_than_counted(context: str) -> None:
    """PyTorch's own count of what a trial multiplies: the steps', and the measurements' of retrieved weights."""
    from torch.utils.flop_counter import FlopCounterMode

    trial = TrialConfig(dataset="digits", context=context, width=16, num_tasks=1, steps_per_task=3, batch_size=8)
    train([trial])  # contexts are drawn with products of their own, but not as flops that are counted
    with FlopCounterMode(display=False) as counter:
        train([trial, replace(trial, seed=1)])
    steps = 2 * trial.num_steps * trial.batch_size * trial.cost.step_products
    measured = 2 * 359 * trial.cost.retrieved_products
    retrieval = 2 * sum(size * get_context(context).num_products(size) for size in (16, 16)) + 2 * 16 * get_context(
        context
    ).num_products(64)
    assert counter.get_total_flops() <= 2 * (steps + measured + retrieval)


def test_functions_take_turns_and_each_is_called() -> None:
    calls: list[str] = []
    medians = interleaved({name: lambda name=name: calls.append(name) for name in "ab"}, repeats=3, seconds=0)
    assert calls == ["a", "a", "b", "b", *3 * ["a", "b"]]
    assert all(seconds > 0 for seconds in medians.values())


@pytest.mark.slow
def test_the_command_prints_and_stores_its_tables(tmp_path: Path) -> None:
    command = [
        sys.executable,
        "-m",
        "benchmarks",
        "steps",
        "growth",
        "convolutions",
        "binding",
        "--quick",
        "--out",
        str(tmp_path),
    ]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=True, cwd=ROOT)
    assert "(a) A training step against the floor" in done.stdout
    names = ("steps", "growth", "convolutions", "binding")
    assert {path.name for path in tmp_path.iterdir()} == {f"{name}.{kind}" for name in names for kind in ("md", "csv")}
    assert torch.__version__ in (tmp_path / "steps.md").read_text()

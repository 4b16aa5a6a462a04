import subprocess
import sys
from math import isnan, prod
from pathlib import Path

import pandas as pd
import pytest
import torch
from torch import Tensor

from benchmarks import aims, gpu, studies
from benchmarks.aims import Aim
from benchmarks.floor import optimiser_pass, step_shapes
from benchmarks.timing import interleaved
from psp_core import TrialConfig, load_dataset, train
from psp_core.contexts import CONTEXTS, get_context
from psp_core.training import PackTraining
from psp_core.trial import replace

ROOT = Path(__file__).parents[2]
SMALL = TrialConfig(dataset="digits", width=8, num_tasks=1, steps_per_task=1)


@pytest.mark.parametrize("depth", [0, 1, 2, 3])
@pytest.mark.parametrize("context", CONTEXTS)
def test_the_floor_has_the_products_that_the_plan_counts(context: str, depth: int) -> None:
    if get_context(context).is_of_units and not depth:
        pytest.skip("there is no hidden unit")
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
    names = ("steps", "growth", "convolutions", "binding", "phases", "gpu")
    command = [sys.executable, "-m", "benchmarks", *names, "--quick", "--out", str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=900, check=True, cwd=ROOT)
    assert "(a) A training step against the floor" in done.stdout
    assert "failed: " not in done.stdout
    assert {path.name for path in tmp_path.iterdir()} == {f"{name}.{kind}" for name in names for kind in ("md", "csv")}
    assert torch.__version__ in (tmp_path / "steps.md").read_text()
    rows = pd.read_csv(tmp_path / "gpu.csv")
    assert list(rows["what"]) == [aim.what for aim in gpu.AIMS]
    assert (rows["now"] > 0).all()
    assert rows["reached"].isna().all()  # which is asked of GPUs alone


@pytest.mark.slow
def test_a_study_is_timed_from_its_start_to_its_end() -> None:
    run = studies.run(studies.TINY)
    assert run.stored == 1
    assert 0 < run.first <= run.whole


def test_the_numbers_of_studies_come_of_one_run_each(monkeypatch: pytest.MonkeyPatch) -> None:
    runs = {"quickstart": studies.Run(2.0, 3.0, 60), studies.PAPER_GRID: studies.Run(7.0, None, 5)}
    monkeypatch.setattr(studies, "run", runs.pop)  # a second run of either would raise
    quickstart, first, grid = studies.measure(torch.device("cpu"), quick=False)
    assert (quickstart["now"], first["now"]) == (3, 7)
    assert grid["note"] == "failed: TimeoutError: not within 540 s, in which 5 trials were stored"


@pytest.mark.slow
def test_a_study_that_fails_says_its_last_words(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError, match=r"^error: .*none\.yaml"):
        studies.run(str(tmp_path / "none.yaml"))


def test_a_study_whose_time_is_up_has_no_end() -> None:
    run = studies.Run(first=2.0, whole=None, stored=7)
    assert run.seconds(run.first) == 2
    with pytest.raises(TimeoutError, match="in which 7 trials were stored"):
        run.seconds(run.whole)


@pytest.mark.parametrize(
    ("is_falling", "now", "answer"), [(True, 1.2, "yes"), (True, 1.4, "no"), (False, 1.2, "no"), (False, 1.4, "yes")]
)
def test_an_aim_is_reached_from_its_side(is_falling: bool, now: float, answer: str) -> None:
    aim = Aim("a number", 2.0, 1.3, lambda given: now, is_falling)
    assert aim.row(None) | {"seconds": 0} == {
        "what": "a number", "before": 2.0, "to reach": 1.3, "now": now, "reached": answer, "seconds": 0, "note": "",
    }  # fmt: skip


def test_an_aim_that_cannot_be_measured_says_why_and_the_rest_goes_on() -> None:
    def fail(given: object) -> float:
        raise RuntimeError("no kernel\nmore")

    first, second = aims.rows(
        [Aim("a", None, 1, fail), Aim("b", None, None, lambda given: 3)], None, torch.device("cpu")
    )
    assert first["note"] == "failed: RuntimeError: no kernel"
    assert isnan(first["now"])
    assert second["now"] == 3


def test_an_optimiser_pass_moves_what_rmsprop_moves() -> None:
    """It reads a gradient, and reads and writes a weight and its square: five numbers for each weight."""
    training = PackTraining([SMALL, replace(SMALL, seed=1)], load_dataset("digits"), torch.device("cpu"))
    copied: Tensor = optimiser_pass(training)()
    assert copied.numel() == -(-5 * training.learner.networks.flat.numel() // 2)

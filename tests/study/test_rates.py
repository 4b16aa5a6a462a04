"""The planner's rates: what ships with the package, what is measured here, and how both are fitted."""

import dataclasses
from pathlib import Path

import pytest
import torch

from psp_core.trial import TrialConfig
from study import tuner
from study.amounts import amounts, amounts_of_row
from study.rates import NAMES, SHIPPED, Amounts, Rates, Row, own_file, rates_of, shipped
from study.tuner import beside, fitted, measured

DIGITS = {"dataset": "digits", "context": "binary"}


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    return tmp_path


@pytest.mark.parametrize("kind", SHIPPED)
def test_shipped_rates_are_those_that_fit_their_rows(kind: str) -> None:
    """Where a cost is counted otherwise: psp tune-planner --rows study/devices/X.json --out study/devices/X.json."""
    rates = shipped(kind)
    assert rates.kind == kind
    if rates.rows:
        for found, there in zip(fitted(rates.rows, rates).values(), rates.rates.values(), strict=True):
            assert found == pytest.approx(there, rel=0.01)
    for what, seconds, estimated in beside(rates):
        assert estimated == pytest.approx(seconds, rel=0.3), what


def test_known_rates_are_found_and_what_no_row_has_stays() -> None:
    true = Amounts(packs=0.5, steps=1e-4, products=1e-11, activations=1e-9, numbers=3e-10, answers=1e-9)
    rates = Rates(device="x", kind="cpu", date="", how="", rates=true)
    rows = [
        Row(settings={**DIGITS, "width": width}, members=members, seconds=1.0, **counts)
        for width, members in [(8, 1), (64, 1), (64, 16), (512, 1)]
        for counts in ({"steps": 10}, {"packs": 1, "steps": 10}, {"networks": 2, "tests": 1000})
    ]
    exact = [dataclasses.replace(row, seconds=rates.seconds(amounts_of_row(row))) for row in rows]
    before = dataclasses.replace(rates, rates=Amounts(bound=7.0, workers=3.0))
    found = fitted(exact, before)
    assert (found.bound, found.workers) == (7.0, 3.0)
    for name in ("packs", "steps", "products", "activations", "numbers", "answers"):
        assert getattr(found, name) == pytest.approx(getattr(true, name), rel=0.01)


def test_a_row_is_counted_as_a_pack_is() -> None:
    """Two whole tasks of three members, measured on all test images after each."""
    settings = {**DIGITS, "width": 8, "num_tasks": 2, "steps_per_task": 7}
    work = TrialConfig(**settings).work()
    row = Row(
        settings=settings, members=3, seconds=1, packs=1, drawn=1, tasks=2, steps=14, networks=3, tests=work.tests
    )
    assert amounts_of_row(row) == amounts([TrialConfig(**settings, seed=seed) for seed in range(3)])


def test_members_of_all_kinds_are_counted() -> None:
    trials = [TrialConfig(**DIGITS, width=width, seed=width) for width in (8, 16)]
    together, each = amounts(trials), [amounts([trial]) for trial in trials]
    for name in NAMES:
        values = [getattr(one, name) for one in each]
        assert getattr(together, name) == (values[0] if name in ("packs", "tasks", "steps") else sum(values))


def test_packs_that_share_a_device_wait_together_and_compute_in_turns() -> None:
    rates = Rates(device="x", kind="cuda", date="", how="", rates=Amounts(steps=1.0, products=1.0))
    assert rates.seconds(Amounts(steps=5, products=2)) == 7
    assert rates.seconds(Amounts(steps=5, products=2), sharing=4) == 5 + 4 * 2


def test_a_device_that_was_measured_has_rates_of_its_own(cache: Path) -> None:
    own = dataclasses.replace(shipped("cuda"), device="NVIDIA A100-SXM4-80GB", rates=Amounts(steps=1.0))
    path = own_file(own.device)
    assert path == cache / "psp" / "rates" / "nvidia-a100-sxm4-80gb.json"
    assert rates_of("cuda", own.device) == shipped("cuda")
    path.parent.mkdir(parents=True)
    path.write_text(own.to_json())
    assert rates_of("cuda", own.device) == own
    assert rates_of("cuda", "NVIDIA H200") == rates_of("cuda") == shipped("cuda")
    assert rates_of("cpu", own.device) == shipped("cpu")
    path.write_text('{"rates": {"warp": 9}}')  # of another version
    assert rates_of("cuda", own.device) == shipped("cuda")


def test_a_device_is_measured_task_by_task(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(tuner.CASES, "cpu", [({**DIGITS, "width": 8}, 2)])
    monkeypatch.setitem(tuner.SECONDS_OF_A_TASK, "cpu", 0.001)
    first, second, third = measured(torch.device("cpu"), shipped("cpu"))
    assert all(row.seconds > 0 and (row.members, row.tasks, row.steps) == (2, 1, 20) for row in (first, second, third))
    assert [(row.workers, row.packs, row.drawn) for row in (first, second, third)] == [(1, 1, 1), (0, 0, 0), (0, 0, 0)]
    assert [(row.networks, row.tests) for row in (first, second, third)] == [(1, 359), (2, 718), (3, 1077)]

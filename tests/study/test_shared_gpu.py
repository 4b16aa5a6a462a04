"""Packs that share a GPU through Ray, run out of its memory, or lose it.

Where there is no GPU, Ray is told that there is one, and workers train on the CPU.
"""

import contextlib
import json
import os
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
import ray
import torch
from ray import cloudpickle

from psp_core.datasets import load_dataset
from psp_core.trial import TrialConfig
from study import tune
from study.plan import Pack
from study.progress import Display, Tally
from study.screen import Screen
from study.store import TrialStore
from study.tune import Engine, PackTrainable
from study.worker import Job, PackRun
from study.workers import Limits, Workers
from tests.gpu import ON_A_GPU

pytestmark = pytest.mark.slow

FOUR = Workers(device="cuda", count=1, memory=2**33, cores=4).shared(4)


class OnCpu(PackTrainable):
    """Notes which share of which GPU it was given, and when each task began and ended, then trains on the CPU."""

    def setup(self, config: dict[str, Any], **given: Any) -> None:
        self.given = ray.get_gpu_ids(), ray.get_runtime_context().get_assigned_resources().get("GPU")
        self.folder = Path(next(iter(given["jobs"].values())).store).parent
        ids, ray.get_gpu_ids = ray.get_gpu_ids, lambda: []  # as a worker without a GPU sees it
        super().setup(config, **given)
        ray.get_gpu_ids = ids

    def step(self) -> dict[str, Any]:
        begun = time.time()
        result = self.run.step()
        gpus, share = self.given
        note = {"pid": os.getpid(), "gpus": gpus, "share": share, "begun": begun, "ended": time.time()}
        with (self.folder / f"log-{os.getpid()}").open("a") as file:
            print(json.dumps(note), file=file)
        return result


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., TrialStore]]:
    """Run packs of digits through Ray, each worker as this class, four on a GPU; the store."""
    cloudpickle.register_pickle_by_value(sys.modules[__name__])  # workers do not import tests

    def run(packs: list[Pack], kind: type[PackTrainable]) -> TrialStore:
        monkeypatch.setattr(tune, "PackTrainable", kind)
        if issubclass(kind, OnCpu):
            monkeypatch.setattr(tune, "choices_here", lambda *asked: [FOUR])
        store = TrialStore(str(tmp_path / "store"))
        jobs = [Job(study="small", pack=pack, store=store.uri, checkpoint_seconds=0) for pack in packs]
        display = Display(Screen(), Tally(packs, ["seed"], FOUR))
        with Engine(None, packs_per_gpu=4, gpus=1) as engine:
            engine.run(jobs, {"digits": load_dataset("digits")}, display, Limits())
        return store

    with contextlib.ExitStack() as after:
        after.callback(cloudpickle.unregister_pickle_by_value, sys.modules[__name__])
        yield run


def packs(number: int, **settings: object) -> list[Pack]:
    base = {"dataset": "digits", "width": 8, "num_tasks": 6, "steps_per_task": 500, **settings}
    return [Pack(tuple(TrialConfig(**base, seed=seed, lr=lr) for lr in (0.01, 0.02))) for seed in range(number)]


def test_four_packs_share_a_gpu(run: Callable[..., TrialStore], tmp_path: Path) -> None:
    store = run(packs(4), OnCpu)
    assert {found.status for found in store.finished()[0].values()} == {"ok"}
    assert len(store.finished()[0]) == 8
    logs = [[json.loads(line) for line in path.read_text().splitlines()] for path in tmp_path.glob("log-*")]
    assert {(tuple(note["gpus"]), note["share"]) for log in logs for note in log} == {((0,), 0.25)}
    assert len(logs) == 4  # processes
    first_end, last_begin = min(log[-1]["ended"] for log in logs), max(log[0]["begun"] for log in logs)
    assert last_begin < first_end  # all four trained at once


class Lost(OnCpu):
    """Whose first process loses its device in its third task, which CUDA says by an error."""

    def step(self) -> dict[str, Any]:
        mark = self.folder / "lost"
        if self.run.training and self.run.training.tasks_seen == 2 and not mark.exists():
            mark.write_text(str(os.getpid()))
            raise RuntimeError("CUDA error: unspecified launch failure")
        return super().step()


def test_where_a_device_is_lost_another_process_goes_on(run: Callable[..., TrialStore], tmp_path: Path) -> None:
    store = run(packs(1, steps_per_task=50), Lost)
    assert [found.status for found in store.finished()[0].values()] == ["ok", "ok"]
    lost = int((tmp_path / "lost").read_text())
    steps = {int(path.name.removeprefix("log-")): len(path.read_text().splitlines()) for path in tmp_path.glob("log-*")}
    assert steps.pop(lost) == 2
    assert list(steps.values()) == [4]  # from the checkpoint, in another process


class TooSmall(OnCpu):
    """On which two trials together do not fit."""

    def step(self) -> dict[str, Any]:
        def refuse(run: PackRun) -> Any:
            if len(run.left[0].trials) > 1:
                raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB.")
            return new(run)

        new, PackRun._new = PackRun._new, refuse  # type: ignore[method-assign]
        try:
            return super().step()
        finally:
            PackRun._new = new  # type: ignore[method-assign]


def test_a_pack_that_its_share_does_not_hold_is_halved(run: Callable[..., TrialStore], tmp_path: Path) -> None:
    store = run(packs(1, num_tasks=2, steps_per_task=10), TooSmall)
    assert [found.status for found in store.finished()[0].values()] == ["ok", "ok"]
    (log,) = (path.read_text().splitlines() for path in tmp_path.glob("log-*"))
    assert len(log) == 1 + 2 + 2  # what is refused, and both halves


def on_a_gpu(test: Callable[..., None]) -> Callable[..., None]:
    for mark in ON_A_GPU:
        test = mark(test)
    return test


def devices(store: TrialStore) -> set[str]:
    return set(pq.read_table(f"{store.uri}/trials")["device"].to_pylist())


@on_a_gpu
def test_four_packs_train_on_one_gpu(run: Callable[..., TrialStore]) -> None:
    store = run(packs(4, num_tasks=2, steps_per_task=50), PackTrainable)
    assert [found.status for found in store.finished()[0].values()] == ["ok"] * 8
    assert devices(store) == {torch.cuda.get_device_name()}


class TrulyLost(PackTrainable):
    """Whose first process indexes beyond a tensor in its third task: its device answers nothing any more."""

    def step(self) -> dict[str, Any]:
        mark = Path(self.run.job.store).parent / "lost"
        if self.run.training and self.run.training.tasks_seen == 2 and not mark.exists():
            mark.touch()
            self.run.training.train_task = lambda: torch.zeros(1, device="cuda")[torch.full((1,), 9, device="cuda")]
        return self.run.step()


@on_a_gpu
def test_where_a_gpu_is_lost_another_process_goes_on(run: Callable[..., TrialStore], tmp_path: Path) -> None:
    store = run(packs(1, steps_per_task=50), TrulyLost)
    assert (tmp_path / "lost").exists()
    assert [found.status for found in store.finished()[0].values()] == ["ok", "ok"]


@on_a_gpu
def test_a_pack_that_a_gpu_does_not_hold_is_halved_and_goes_on(tmp_path: Path) -> None:
    """Twenty-four members of some 0.14 GiB in 1.5 GiB."""
    limit, (free, total) = 3 * 2**29, torch.cuda.mem_get_info()
    if free < 2 * limit:
        pytest.skip("the device has less than 3 GiB left")
    settings = {"dataset": "digits", "width": 2048, "depth": 3, "num_tasks": 2, "steps_per_task": 10}
    pack = Pack(tuple(TrialConfig(**settings, seed=seed, eval_samples=50) for seed in range(24)))
    assert 2 * limit < 24 * pack.member_bytes < 4 * limit
    torch.cuda.empty_cache()
    torch.cuda.set_per_process_memory_fraction(limit / total)
    try:
        one = PackRun(Job(study="s", pack=pack, store=str(tmp_path)), load_dataset("digits").to("cuda"), "cuda")
        while not one.step()["done"]:
            pass
    finally:
        torch.cuda.set_per_process_memory_fraction(1.0)
    assert len(one.pieces_done) > 1
    found, _ = TrialStore(str(tmp_path)).finished()
    assert [entry.status for entry in found.values()] == ["ok"] * 24

import json
import subprocess
import sys
from typing import Any

import pytest
import torch

from psp_core.contexts import CONTEXTS
from psp_core.contexts.rotation import QR_PRODUCTS
from psp_core.cost import (
    drawing_products,
    measuring_products,
    member_bytes,
    num_params,
    num_retrieved,
    num_tests,
    shared_bytes,
    step_products,
)
from psp_core.models import mlp
from psp_core.packing import Pack
from psp_core.training import train
from psp_core.trial import TrialConfig


@pytest.mark.parametrize("depth", [0, 2])
@pytest.mark.parametrize("context", CONTEXTS)
def test_parameters_are_counted_as_the_network_has_them(context: str, depth: int) -> None:
    trial = TrialConfig(dataset="digits", context=context, depth=depth, num_tasks=1, **({"width": 8} if depth else {}))
    width = trial.width if depth else 1
    net = mlp(width, depth, CONTEXTS[context], in_features=64, out_features=10, num_tasks=1, seed=0)
    assert num_params(trial) == sum(p.numel() for p in net.parameters())


@pytest.mark.parametrize("keep_labels", [False, True])
def test_tests_of_a_split_stream_are_counted_about(keep_labels: bool) -> None:
    split = {"stream": "split", "classes_per_task": 2, "keep_labels": keep_labels}
    trial = TrialConfig(dataset="digits", width=4, num_tasks=3, steps_per_task=1, **split)
    assert num_tests(trial) == pytest.approx(int(train([trial])[0].num_samples.sum()), rel=0.1)


@pytest.mark.parametrize("settings", [{}, {"eval_tasks": "ends"}, {"eval_samples": 50, "milestones": (2,)}])
def test_tests_are_counted_as_they_are_made(settings: dict[str, object]) -> None:
    trial = TrialConfig(dataset="digits", width=4, num_tasks=4, steps_per_task=1, **settings)
    assert num_tests(trial) == train([trial])[0].num_samples.sum()


@pytest.mark.parametrize("settings", [{}, {"eval_tasks": "ends"}, {"eval_samples": 50, "milestones": (2,)}])
def test_networks_are_retrieved_as_often_as_counted(settings: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    retrieved = []
    retrieve = Pack.retrieve
    monkeypatch.setattr(Pack, "retrieve", lambda pack, tasks: retrieved.extend(tasks) or retrieve(pack, tasks))
    trial = TrialConfig(dataset="digits", width=4, num_tasks=4, steps_per_task=1, **settings)
    train([trial])
    assert len(retrieved) == num_retrieved(trial)


@pytest.mark.parametrize("context", CONTEXTS)
def test_every_decomposition_behind_a_context_is_counted(context: str, monkeypatch: pytest.MonkeyPatch) -> None:
    decomposed = []
    qr = torch.linalg.qr
    monkeypatch.setattr(torch.linalg, "qr", lambda matrix: decomposed.append(matrix) or qr(matrix))
    trial = TrialConfig(dataset="digits", context=context, width=8, num_tasks=5, steps_per_task=1)
    train([trial])
    counted = sum(QR_PRODUCTS * len(matrix) ** 3 for matrix in decomposed)
    assert counted <= drawing_products(trial) <= 4 * counted  # and the products of powers


@pytest.mark.parametrize("order", ["together", "layer-by-layer"])
def test_masks_are_trained_and_recovered_in_as_many_products_as_counted(order: str) -> None:
    """PyTorch's own count of the networks' products; those with Psi are no batched ones."""
    from torch.utils.flop_counter import FlopCounterMode

    settings = {"stream": "split", "classes_per_task": 2, "keep_labels": True, "method": "hopsupsup", "context": "none"}
    trial = TrialConfig(
        dataset="digits", width=16, num_tasks=3, steps_per_task=5, batch_size=8, recovery_order=order, **settings
    )
    with FlopCounterMode(display=False) as counter:
        (result,) = train([trial])
    measured = int(result.num_samples.sum()) * measuring_products(trial)
    counted = sum(flops for name, flops in counter.get_flop_counts()["Global"].items() if name is torch.ops.aten.bmm)
    assert counted == 2 * (trial.num_steps * trial.batch_size * step_products(trial) + measured)


PEAK = """
import json
import sys
from pathlib import Path
import torch
from psp_core import TrialConfig, load_dataset, train

def kilobytes(what):
    return next(int(line.split()[1]) for line in Path("/proc/self/status").read_text().splitlines() if what in line)

torch.set_num_threads(1)
settings, members = json.loads(sys.argv[1]), int(sys.argv[2])
train([TrialConfig(**settings | {"num_tasks": 1, "width": 8})])
Path("/proc/self/clear_refs").write_text("5")  # the peak is counted from now on
before = kilobytes("VmRSS")
train([TrialConfig(**settings, seed=seed) for seed in range(members)])
print(1024 * (kilobytes("VmHWM") - before))
"""


@pytest.mark.slow
@pytest.mark.parametrize(
    ("settings", "members"),
    [
        ({"num_tasks": 20, "context": "rotation", "width": 512}, 2),
        ({"num_tasks": 2, "context": "binary", "width": 2048}, 3),
        ({"num_tasks": 2, "context": "complex", "width": 1024}, 3),
        ({"num_tasks": 100, "context": "none", "width": 1024, "method": "supsup"}, 3),
        ({"num_tasks": 3, "context": "none", "width": 1024, "method": "hopsupsup"}, 3),
        ({"num_tasks": 1, "context": "none", "width": 2048, "method": "hopsupsup"}, 1),
    ],
)
def test_memory_is_estimated_as_it_is_used(settings: dict[str, Any], members: int) -> None:
    """Peak memory of a process, less what it had before: between half and 1.25 times the estimate."""
    settings = {"dataset": "digits", "steps_per_task": 2, "eval_tasks": "first", **settings}
    trial = TrialConfig(**settings)
    command = [sys.executable, "-c", PEAK, json.dumps(settings), str(members)]
    used = int(subprocess.run(command, capture_output=True, text=True, check=True, timeout=300).stdout)
    estimated = members * member_bytes(trial) + shared_bytes(trial, "cpu")
    assert 0.5 * estimated < used < 1.25 * estimated

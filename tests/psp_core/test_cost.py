from typing import Any

import pytest
import torch

from psp_core.contexts import CONTEXTS, get_context
from psp_core.contexts.rotation import QR_PRODUCTS
from psp_core.cost import shared_bytes
from psp_core.datasets import load_dataset
from psp_core.evaluation import CHUNK_BYTES
from psp_core.measuring import num_retrieved, num_tests
from psp_core.models import mlp
from psp_core.networks import Networks
from psp_core.training import train
from psp_core.trial import TrialConfig, replace
from tests.memory import peak_bytes


@pytest.mark.parametrize("depth", [0, 2])
@pytest.mark.parametrize("context", CONTEXTS)
def test_parameters_are_counted_as_the_network_has_them(context: str, depth: int) -> None:
    if get_context(context).is_of_units and not depth:
        pytest.skip("there is no hidden unit")
    trial = TrialConfig(dataset="digits", context=context, depth=depth, num_tasks=1, **({"width": 8} if depth else {}))
    width = trial.width if depth else 1
    net = mlp(width, depth, get_context(context), in_features=64, out_features=10, num_tasks=1, seed=0)
    assert trial.cost.num_params == sum(p.numel() for p in net.parameters())


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
    retrieve = Networks.retrieve
    monkeypatch.setattr(Networks, "retrieve", lambda pack, tasks: retrieved.extend(tasks) or retrieve(pack, tasks))
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
    assert counted <= trial.cost.drawing_products <= 4 * counted  # and the products of powers


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
    measured = int(result.num_samples.sum()) * trial.cost.measuring_products
    counted = sum(flops for name, flops in counter.get_flop_counts()["Global"].items() if name is torch.ops.aten.bmm)
    assert counted == 2 * (trial.num_steps * trial.batch_size * trial.cost.step_products + measured)


@pytest.mark.parametrize(
    ("settings", "members"),
    [
        ({"num_tasks": 6, "context": "rotation", "width": 512}, 2),
        ({"num_tasks": 2, "context": "binary", "width": 1024}, 3),
        ({"num_tasks": 2, "context": "complex", "width": 1024}, 2),
        ({"num_tasks": 20, "context": "none", "width": 1024, "method": "supsup"}, 2),
        ({"num_tasks": 2, "context": "none", "width": 1024, "method": "hopsupsup"}, 3),
    ],
)
def test_memory_is_estimated_as_it_is_used(settings: dict[str, Any], members: int) -> None:
    """Tensors hold no more than is estimated, and about half of it at least, but for what is measured at once."""
    settings = {"dataset": "digits", "steps_per_task": 2, "eval_tasks": "first", "eval_samples": 100, **settings}
    trial = TrialConfig(**settings)
    load_dataset("digits")
    used = peak_bytes(lambda: train([replace(trial, seed=seed) for seed in range(members)]))
    estimated = members * trial.member_bytes + shared_bytes(trial, "cpu")
    assert estimated - 6 * CHUNK_BYTES["cpu"] < 2.2 * used
    assert used < estimated

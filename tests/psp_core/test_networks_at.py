"""Gradients and answers of other rows and other weights than a step's own, with labels and with probabilities."""

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from psp_core import Trial, TrialConfig
from psp_core.networks import Networks
from tests.conftest import in_float64

CPU = torch.device("cpu")
SMALL: dict[str, Any] = {"dataset": "digits", "width": 5, "num_tasks": 3, "steps_per_task": 4}
HOSTS: list[dict[str, Any]] = [
    {"context": "none"},
    {"context": "binary"},
    {"context": "complex"},
    {"context": "rotation"},
    {"context": "none", "heads": "per-task"},
    {"context": "binary", "learned_contexts": True},
    {"context": "binary", "model": "small-conv", "norm": "per-task"},
]
HOST = pytest.mark.parametrize("settings", HOSTS, ids=lambda settings: "-".join(map(str, settings.values())))
MEMBERS = pytest.mark.parametrize("num_members", [1, 2])


def networks_of(*trials: Trial) -> Networks:
    return trials[0].method.start(trials, CPU).networks  # type: ignore[attr-defined, no-any-return]


def drawn(settings: dict[str, Any], num_members: int) -> tuple[Networks, Tensor, Tensor]:
    """Networks of several seeds, on row 2; inputs and labels."""
    networks = networks_of(*(TrialConfig(**SMALL, **settings, seed=seed) for seed in range(num_members)))
    networks.begin(2)
    rng = torch.Generator().manual_seed(1)
    labels_EB = torch.randint(10, (num_members, 6), generator=rng)
    return networks, torch.randn(num_members, 6, 64, generator=rng), labels_EB


@HOST
@MEMBERS
def test_gradients_of_other_rows_are_those_of_the_rows(settings: dict[str, Any], num_members: int) -> None:
    with in_float64():
        networks, x_EBI, labels_EB = drawn(settings, num_members)
        found = torch.zeros_like(networks.flat)
        loss_E = networks.gradients_at(torch.arange(num_members), x_EBI, labels_EB, found)
        for member in range(num_members):
            networks.begin(member)
            expected_E = networks.gradients(x_EBI, labels_EB)
            torch.testing.assert_close(loss_E[member], expected_E[member])
            torch.testing.assert_close(found[member], networks.flat_gradients[member])


@HOST
@MEMBERS
def test_gradients_of_probabilities_are_autograd_s(settings: dict[str, Any], num_members: int) -> None:
    with in_float64():
        networks, x_EBI, _ = drawn(settings, num_members)
        row_E = torch.arange(num_members)
        old_EP = networks.flat + 0.1 * torch.randn(networks.flat.shape, generator=torch.Generator().manual_seed(2))
        targets_EBO = (networks.logits_at(row_E, x_EBI, old_EP) / 2).softmax(-1)
        found = torch.zeros_like(networks.flat)
        loss_E = networks.gradients_at(row_E, x_EBI, targets_EBO, found, temperature=2.0)
        for member in range(num_members):
            old = {name: values[member] for name, values in networks.views(old_EP).items()}
            old_BO = networks.network_of(member, member, x_EBI[member], old, training=True)
            torch.testing.assert_close(targets_EBO[member], (old_BO / 2).softmax(-1))
            leaves = {name: p[member].clone().requires_grad_() for name, p in networks.parameters.items()}
            logits_BO = networks.network_of(member, member, x_EBI[member], leaves, training=True)
            loss = nn.functional.cross_entropy(logits_BO / 2, targets_EBO[member])
            torch.testing.assert_close(loss_E[member], loss.detach())
            gradients = torch.autograd.grad(loss, list(leaves.values()))
            for name, gradient in zip(leaves, gradients, strict=True):
                torch.testing.assert_close(networks.views(found)[name][member], gradient)

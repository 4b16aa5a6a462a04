"""Memory aware synapses."""

from typing import Any, ClassVar

import pytest
import torch
from torch.func import functional_call

from psp_core import TrialConfig
from psp_core.importance import OutputNorm
from psp_core.protect.mas import MAS
from tests.conftest import in_float64
from tests.plain import answers, begun, descend, gradient, packed, task_gradient, trial_of
from tests.protections import ProtectionContract
from tests.psp_core.test_fisher import SMALL, images, networks_of


class TestMAS(ProtectionContract):
    protection = MAS
    settings: ClassVar[dict[str, Any]] = {"samples": 64}
    strengths = (0.003, 0.03)


@pytest.mark.parametrize(
    "settings",
    [
        {"context": "none"},
        {"context": "binary"},
        {"context": "rotation"},
        {"context": "complex"},
        {"context": "none", "heads": "per-task"},
        {"model": "small-conv", "norm": "per-task"},
    ],
    ids=lambda settings: "-".join(map(str, settings.values())),
)
def test_importance_is_what_every_image_alone_says(settings: dict[str, Any]) -> None:
    networks = networks_of(*(TrialConfig(**SMALL, **settings, seed=seed) for seed in (0, 1)))
    x_EBI = images(2)
    found = networks.views(networks.importance([x_EBI[:, :4], x_EBI[:, 4:]], OutputNorm()))
    skeleton = networks._skeleton.eval()
    for member in range(2):
        shared = {name: p[member].clone().requires_grad_() for name, p in networks.parameters.items()}
        rows = {name: row[member][None] for name, row in (networks.contexts | networks.learned).items()}
        expected = {name: torch.zeros_like(p) for name, p in shared.items()}
        for x_I in x_EBI[member]:
            length = functional_call(skeleton, shared | rows, (x_I[None], 0)).square().sum()
            for name, g in zip(expected, torch.autograd.grad(length, list(shared.values())), strict=True):
                expected[name] += g.abs() / x_EBI.shape[1]
        for name, of_members in found.items():
            torch.testing.assert_close(of_members[member], expected[name])


def test_it_trains_as_the_paper_s_algorithm_does() -> None:
    """Plain SGD of loss + lambda sum Omega (w - w')^2, Omega summed over tasks, image by image."""
    with in_float64():
        trial = trial_of({"name": "mas", "strength": 0.01, "samples": 16})
        leaves, batches = begun(trial)
        omega = [torch.zeros_like(leaf) for leaf in leaves]
        anchor = [leaf.detach().clone() for leaf in leaves]
        for steps in batches:
            for x_BI, labels_B in steps:
                pulls = zip(leaves, omega, anchor, strict=True)
                penalty = sum(0.01 * (o * (leaf - a).square()).sum() for leaf, o, a in pulls)
                pulled = gradient(leaves, torch.as_tensor(penalty))
                own = task_gradient(leaves, x_BI, labels_B)
                descend(leaves, [g + p for g, p in zip(own, pulled, strict=True)], trial.optimiser.lr)
            for x_BI, _ in steps[-2:]:
                for x_I in x_BI:
                    sizes = gradient(leaves, answers(leaves, x_I[None]).square().sum())
                    omega = [o + g.abs() / 16 for o, g in zip(omega, sizes, strict=True)]
            anchor = [leaf.detach().clone() for leaf in leaves]
        _, found = packed(trial)
        for leaf, parameter in zip(leaves, found, strict=True):
            torch.testing.assert_close(parameter, leaf.detach())

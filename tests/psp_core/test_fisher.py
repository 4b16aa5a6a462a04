"""The diagonal Fisher information of shared weights: by hand, by autograd, and on paper."""

from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.func import functional_call

from psp_core import Trial, TrialConfig
from psp_core.groups import Stretch
from psp_core.methods.superposed import SuperposedLearner
from psp_core.networks import Networks

# B images, I inputs, O outputs

CPU = torch.device("cpu")
SMALL: dict[str, Any] = {"dataset": "digits", "width": 5, "depth": 2, "num_tasks": 2, "steps_per_task": 4}


def networks_of(*trials: Trial) -> Networks:
    """The networks of a pack, its second task begun."""
    learner = trials[0].method.start(trials, CPU)
    assert isinstance(learner, SuperposedLearner)
    nothing = (torch.empty(0), torch.empty(0))
    stretch = Stretch(
        task=1, index=0, count=1, batch_size=0, first=lambda: nothing, recent=lambda number: iter([nothing])
    )
    learner.begin(stretch)
    return learner.networks


def images(num_members: int, number: int = 6) -> Tensor:
    return torch.randn(num_members, number, 64, generator=torch.Generator().manual_seed(3))


def one_by_one(networks: Networks, member: int, x_BI: Tensor) -> dict[str, Tensor]:
    """Every image and every answer in turn, as the definition says it."""
    shared = {name: p[member].clone().requires_grad_() for name, p in networks.parameters.items()}
    rows = {name: row[member][None] for name, row in (networks.contexts | networks.learned).items()}
    skeleton = networks._skeleton.eval()
    fisher = {name: torch.zeros_like(p) for name, p in shared.items()}
    for x_I in x_BI:
        log_p_O = functional_call(skeleton, shared | rows, (x_I[None], 0))[0].log_softmax(-1)
        for log_p in log_p_O:
            gradients = torch.autograd.grad(log_p, list(shared.values()), retain_graph=True)
            for name, gradient in zip(fisher, gradients, strict=True):
                fisher[name] += log_p.exp().detach() * gradient.square() / len(x_BI)
    return fisher


@pytest.mark.parametrize(
    "settings",
    [
        {"context": "none"},
        {"context": "binary"},
        {"context": "mask"},
        {"context": "rotation"},
        {"context": "complex"},
        {"context": "binary", "learned_contexts": True},
        {"context": "none", "heads": "per-task"},
        {"model": "small-conv", "norm": "per-task"},
        {"model": "small-conv"},
        {"context": "binary", "precision": "bfloat16"},
        {"context": "binary", "learned_contexts": True, "precision": "bfloat16"},
        {"model": "small-conv", "precision": "bfloat16"},
    ],
    ids=lambda settings: "-".join(map(str, settings.values())),
)
def test_it_is_what_every_image_and_answer_alone_says(settings: dict[str, Any]) -> None:
    networks = networks_of(*(TrialConfig(**SMALL, **settings, seed=seed) for seed in (0, 1)))
    x_EBI = images(2)
    found = networks.fisher([x_EBI[:, :4], x_EBI[:, 4:]])
    for member in range(2):
        expected = one_by_one(networks, member, x_EBI[member])
        flat, views = networks.flat.clone().zero_(), {}
        for name, parameter in networks.parameters.items():
            place = parameter.storage_offset() - networks.flat.storage_offset()
            views[name] = flat.as_strided(parameter.shape, parameter.stride(), place)
            views[name][member] = expected[name]
        torch.testing.assert_close(found[member], flat[member])


def test_of_a_softmax_of_a_linear_model_it_is_the_formula() -> None:
    """F of weight (i, o) is E_x x_i^2 p_o (1 - p_o), of bias o E_x p_o (1 - p_o)."""
    networks = networks_of(TrialConfig(dataset="digits", context="none", depth=0, num_tasks=2, steps_per_task=4))
    (x_BI,) = images(1, 40)
    weight, bias = (tensor[0] for tensor in networks.parameters.values())
    p_BO = nn.functional.softmax(x_BI @ weight + bias, -1)
    spread_BO = p_BO * (1 - p_BO)
    found = networks.fisher([x_BI[None]])[0]
    torch.testing.assert_close(found[: weight.numel()].view_as(weight), x_BI.square().T @ spread_BO / 40)
    assert found[640:650].tolist() == pytest.approx(spread_BO.mean(0).tolist(), rel=1e-4)

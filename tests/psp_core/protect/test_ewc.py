"""Elastic weight consolidation."""

from typing import Any, ClassVar

import pytest
import torch

from psp_core import TrialConfig, load_dataset, train
from psp_core.groups import Group
from psp_core.protect.ewc import EWC, OnlineEWC
from psp_core.training import PackTraining
from psp_core.trial import replace
from tests.protections import CPU, TINY, ProtectionContract, weights


class TestEWC(ProtectionContract):
    protection = EWC
    settings: ClassVar[dict[str, Any]] = {"samples": 64}
    strengths = (3.0, 100.0)


class TestOnlineEWC(ProtectionContract):
    protection = OnlineEWC
    settings: ClassVar[dict[str, Any]] = {"samples": 64, "decay": 0.9}
    strengths = (3.0, 100.0)


def begun(**settings: Any) -> PackTraining:
    return PackTraining([TrialConfig(**{**TINY, "context": "none", **settings})], load_dataset("digits"), CPU)


def test_the_penalty_is_the_gradient_of_the_paper_s_loss() -> None:
    """d/dw of strength / 2 sum_k F_k (w - w_k)^2, for two tasks' Fisher information and anchors."""
    rng = torch.Generator().manual_seed(0)
    fishers, anchors = torch.rand(2, 1, 7, generator=rng), torch.randn(2, 1, 7, generator=rng)
    w = torch.randn(1, 7, generator=rng).requires_grad_()
    (0.5 * 3.0 * (fishers * (w - anchors).square()).sum()).backward()
    shared = Group(values_EP=w.detach(), gradients_EP=torch.zeros(1, 7))
    ewc = EWC(strength=3.0)
    state = ewc.start([ewc], shared, [])
    state["fisher"], state["pull"] = fishers.sum(0), (fishers * anchors).sum(0)
    ewc.edit(state, shared, None)  # type: ignore[arg-type]
    torch.testing.assert_close(shared.gradients_EP, w.grad)


@pytest.mark.parametrize(("name", "earlier"), [("ewc", 1.0), ("online-ewc", 0.25)])
def test_what_is_remembered_of_two_tasks(name: str, earlier: float) -> None:
    """Separate anchors: F_0 + F_1 and F_0 w_0 + F_1 w_1; online: gamma F_0 + F_1, all of it pulling to w_1."""
    protect = {"name": name, "strength": 1.0, "samples": 64} | ({"decay": earlier} if name != "ewc" else {})
    training = begun(protect=protect)
    state = training.learner.protected  # type: ignore[attr-defined]
    training.train_task()
    first, w_0 = state["fisher"].clone(), weights(training).clone()
    training.train_task()
    w_1 = weights(training)
    own = state["fisher"] - earlier * first
    assert (own >= -1e-7).all()
    assert own.sum() > 0
    pull = first * w_0 + own * w_1 if name == "ewc" else state["fisher"] * w_1
    torch.testing.assert_close(state["pull"], pull, rtol=1e-4, atol=1e-7)


def test_the_fisher_information_is_that_of_the_last_images_under_the_task_s_context() -> None:
    training = begun(context="binary", protect={"name": "ewc", "strength": 1.0, "samples": 96})
    training.train_task()
    networks = training.learner.networks  # type: ignore[attr-defined]
    expected = networks.fisher(x_EBI for x_EBI, _ in training._recent(3))
    assert torch.equal(training.learner.protected["fisher"], expected)  # type: ignore[attr-defined]


@pytest.mark.parametrize("name", ["ewc", "online-ewc"])
def test_a_network_that_cannot_be_asked_about_one_image_is_refused(name: str) -> None:
    settings: dict[str, Any] = {"dataset": "digits", "model": "resnet-18", "width": 2, "num_tasks": 2}
    protect = {"name": name, "strength": 1.0}
    with pytest.raises(ValueError, match=f"protect='{name}': model='resnet-18' .* use norm 'per-task', or another"):
        TrialConfig(**settings, protect=protect)
    TrialConfig(**settings, norm="per-task", protect=protect)


@pytest.mark.parametrize("num_members", [1, 2])
def test_where_heads_are_all_there_is_nothing_is_protected(num_members: int) -> None:
    trial = TrialConfig(
        dataset="digits", stream="split", classes_per_task=2, context="none", heads="per-task", depth=0, num_tasks=2,
        steps_per_task=2, batch_size=4, protect="ewc", protect_strength=1.0, protect_samples=4,
    )  # fmt: skip
    for guarded, plain in zip(
        train([replace(trial, seed=seed) for seed in range(num_members)], progress=False),
        train([replace(trial, seed=seed, protect="none") for seed in range(num_members)], progress=False),
        strict=True,
    ):
        torch.testing.assert_close(guarded.loss, plain.loss, rtol=0, atol=0, equal_nan=True)

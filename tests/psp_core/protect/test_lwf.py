"""Learning without forgetting."""

from typing import Any, ClassVar

import torch
from torch import nn

from psp_core import TrialConfig
from psp_core.protect import Step
from psp_core.protect.lwf import LwF
from tests.conftest import in_float64
from tests.plain import answers, begun, descend, gradient, packed, task_gradient, trial_of
from tests.protections import TINY, ProtectionContract, trained


class TestLwF(ProtectionContract):
    protection = LwF
    settings: ClassVar[dict[str, Any]] = {"temperature": 3.0}
    strengths = (1.0, 10.0)


def test_it_trains_as_the_paper_s_algorithm_does() -> None:
    """Plain SGD of the loss and of the distillation loss, tasks without anything of their own."""
    with in_float64():
        trial = trial_of({"name": "lwf", "strength": 2.0})
        leaves, batches = begun(trial)
        for task, steps in enumerate(batches):
            old = [leaf.detach().clone() for leaf in leaves]
            for x_BI, labels_B in steps:
                g = task_gradient(leaves, x_BI, labels_B)
                if task:
                    recorded_BO = (answers(old, x_BI) / 2).softmax(1)
                    distilled = -(recorded_BO * (answers(leaves, x_BI) / 2).log_softmax(1)).sum(1).mean()
                    g = [a + 2.0 * b for a, b in zip(g, gradient(leaves, distilled), strict=True)]
                descend(leaves, g, trial.optimiser.lr)
        _, found = packed(trial)
        for leaf, parameter in zip(leaves, found, strict=True):
            torch.testing.assert_close(parameter, leaf.detach())


def test_with_a_head_for_each_task_an_earlier_head_is_to_answer_as_before() -> None:
    """What a step adds is the distillation of the head whose task was drawn, under the weights as the task began."""
    settings: dict[str, Any] = {"heads": "per-task", "stream": "split", "classes_per_task": 3, "steps_per_task": 8}
    training = trained(TrialConfig(**{**TINY, "context": "none", **settings, "protect": LwF(strength=3.0)}))
    learner, (batch,) = training.learner, training._recent(1)
    networks, state, shared = learner.networks, learner.protected, learner.groups[0]  # type: ignore[attr-defined]
    assert set(state["rows"][0].tolist()) == {0, 1}
    leaves = {name: p[0].clone().requires_grad_() for name, p in networks.parameters.items()}
    old = {name: p[0] for name, p in networks.views(state["old"]).items()}
    row = int(state["rows"][0, 5])
    q_BO = (networks.network_of(0, row, batch[0][0], old) / 2).softmax(1)
    loss = 3.0 * nn.functional.cross_entropy(networks.network_of(0, row, batch[0][0], leaves) / 2, q_BO)
    shared.gradients_EP.zero_()
    LwF(strength=3.0).edit(state, shared, Step(networks=networks, batch=batch, number_1=torch.tensor([5])))
    for found, g in zip(
        networks.views(shared.gradients_EP).values(), torch.autograd.grad(loss, list(leaves.values())), strict=True
    ):
        torch.testing.assert_close(found[0], g)


def test_nothing_is_kept_between_tasks() -> None:
    trial = TrialConfig(**{**TINY, "protect": "lwf"})
    assert trial.method.protect.kept_bytes(trial, 1000) == (0, 0)  # type: ignore[attr-defined]
    saved = trained(trial).member_state(0)["learner"]["protected"]
    assert max(tensor.numel() for tensor in saved.values()) == 1

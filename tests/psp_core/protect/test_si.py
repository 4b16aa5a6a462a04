"""Synaptic intelligence."""

from typing import Any, ClassVar

import pytest
import torch

from psp_core.groups import Group
from psp_core.protect.si import SI
from tests.protections import ProtectionContract


class TestSI(ProtectionContract):
    protection = SI
    settings: ClassVar[dict[str, Any]] = {"damping": 0.01}
    strengths = (0.1, 3.0)


@pytest.mark.parametrize("num_steps", [1000, 4000])
def test_the_path_integral_is_the_drop_of_a_quadratic_loss(num_steps: int) -> None:
    """L = sum_i h_i (w_i - m_i)^2 / 2 falls, weight by weight, by its path; the finer the steps the closer."""
    h, m = torch.tensor([[1.0, 4.0, 0.5]]), torch.tensor([[2.0, -1.0, 0.0]])
    w = torch.zeros(1, 3)
    shared = Group(values_EP=w, gradients_EP=torch.zeros(1, 3))
    si = SI()
    state = si.start([si], shared, [])
    before = h * (w - m).square() / 2
    for _ in range(num_steps):
        shared.gradients_EP.copy_(h * (w - m))
        si.edit(state, shared, None)  # type: ignore[arg-type]
        w.sub_(shared.gradients_EP, alpha=2 / num_steps)
        si.stepped(state, shared, None)  # type: ignore[arg-type]
    dropped = before - h * (w - m).square() / 2
    torch.testing.assert_close(state["path"], dropped, rtol=8 / num_steps, atol=1e-6)


def test_importance_is_the_path_over_the_damped_square_of_the_move() -> None:
    w = torch.tensor([[1.0, 2.0, 3.0]])
    shared = Group(values_EP=w, gradients_EP=torch.zeros(1, 3))
    si = SI(strength=0.5, damping=0.1)
    state = si.start([si], shared, [])
    state["path"].copy_(torch.tensor([[0.6, -1.0, 0.2]]))
    w.add_(torch.tensor([[0.5, 1.0, 0.0]]))
    si.end(state, shared, None, None)  # type: ignore[arg-type]
    torch.testing.assert_close(state["importance"], torch.tensor([[0.6 / 0.35, 0.0, 2.0]]))
    assert torch.equal(state["anchor"], w)
    assert not state["path"].any()
    w.add_(1.0)
    si.edit(state, shared, None)  # type: ignore[arg-type]
    torch.testing.assert_close(shared.gradients_EP, 2 * 0.5 * state["importance"])

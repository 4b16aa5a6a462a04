import math

import pytest
import torch

from psp_core.supermasks import FROZEN_WEIGHTS, score_init, signed_kaiming_constant
from tests.contracts import rng

SIZE = (400, 300)


@pytest.mark.parametrize("name", FROZEN_WEIGHTS)
def test_weights_are_inputs_by_outputs_and_drawn_from_the_generator_alone(name: str) -> None:
    draw = FROZEN_WEIGHTS[name]().draw
    assert draw(*SIZE, rng()).shape == SIZE
    assert torch.equal(draw(*SIZE, rng()), draw(*SIZE, rng()))
    assert not torch.equal(draw(*SIZE, rng()), draw(*SIZE, rng(1)))


@pytest.mark.parametrize("name", ["signed-constant", "kaiming-normal", "kaiming-uniform"])
def test_their_variance_is_two_over_the_inputs(name: str) -> None:
    weights = FROZEN_WEIGHTS[name]().draw(*SIZE, rng())
    assert weights.var().item() == pytest.approx(2 / 400, rel=0.02)
    assert weights.mean().item() == pytest.approx(0, abs=5 * math.sqrt(2 / 400 / weights.numel()))


def test_signed_constants_differ_in_sign_only() -> None:
    weights = signed_kaiming_constant(*SIZE, rng())
    torch.testing.assert_close(weights.abs(), torch.full(SIZE, math.sqrt(2 / 400)))
    assert (weights > 0).float().mean().item() == pytest.approx(0.5, abs=5 * 0.5 / math.sqrt(weights.numel()))


@pytest.mark.parametrize(("name", "a"), [("kaiming-uniform", 0.0), ("default", math.sqrt(5))])
def test_uniform_weights_fill_the_range_of_torch_s_own(name: str, a: float) -> None:
    """torch.nn.init counts a matrix's columns as inputs, so it is asked for the transposed one."""
    mine, torch_s = FROZEN_WEIGHTS[name]().draw(*SIZE, rng()), torch.empty(SIZE[::-1])
    torch.nn.init.kaiming_uniform_(torch_s, a=a, generator=rng(1))
    for extreme in (torch.amax, torch.amin):
        torch.testing.assert_close(extreme(mine), extreme(torch_s), rtol=1e-3, atol=0)
    assert mine.var().item() == pytest.approx(torch_s.var().item(), rel=0.02)


def test_scores_lie_within_one_over_the_root_of_the_inputs() -> None:
    scores = score_init(*SIZE, rng())
    assert 0.999 / 20 < scores.abs().max() <= 1 / 20

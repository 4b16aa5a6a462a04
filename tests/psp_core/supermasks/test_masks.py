from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from psp_core.supermasks import (
    erdos_renyi_density,
    mask_gradient,
    threshold_mask,
    threshold_score_gradient,
    top_k_mask,
    top_k_score_gradient,
)
from tests.contracts import rng


def sorted_mask(scores: Tensor, density: float) -> Tensor:
    """As the paper's code has it, by sorting; of equals the first are left out."""
    mask = torch.ones(scores.numel())
    order = scores.abs().flatten().argsort(stable=True)
    mask[order[: int((1 - density) * scores.numel())]] = 0
    return mask.view_as(scores)


class TopK(torch.autograd.Function):
    """The paper's code: forward a mask of |S|, backward straight through."""

    @staticmethod
    def forward(ctx: Any, sizes: Tensor, density: float) -> Tensor:
        return sorted_mask(sizes, density)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        return gradient, None


@pytest.mark.parametrize("density", [0.03, 0.1, 0.3, 0.5, 0.77, 1.0])
def test_top_k_keeps_what_a_sort_keeps(density: float) -> None:
    scores = torch.randn(37, 23, generator=rng())
    mask = top_k_mask(scores, density)
    assert torch.equal(mask, sorted_mask(scores, density))
    assert mask.sum() == scores.numel() - int((1 - density) * scores.numel())


@given(st.lists(st.integers(-3, 3), min_size=6, max_size=6), st.floats(0, 1, exclude_min=True), st.integers(1, 3))
def test_top_k_counts_exactly_even_among_equals(values: list[int], density: float, members: int) -> None:
    scores = torch.tensor(values * members, dtype=torch.float32).view(members, 2, 3)
    expected = torch.stack([sorted_mask(member, density) for member in scores])
    assert torch.equal(top_k_mask(scores, density), expected)


def test_members_choose_each_their_own() -> None:
    scores = torch.randn(3, 8, 5, generator=rng()) * torch.tensor([1.0, 10.0, 0.1])[:, None, None]
    alone = torch.stack([top_k_mask(member, 0.4) for member in scores])
    assert torch.equal(top_k_mask(scores, 0.4), alone)


@pytest.mark.parametrize("density", [0.0, -0.1, 1.1])
def test_a_density_is_a_share(density: float) -> None:
    with pytest.raises(ValueError, match=f"density={density} must lie in"):
        top_k_mask(torch.ones(2, 2), density)


def test_a_threshold_keeps_zero() -> None:
    scores = torch.tensor([[-1.0, -0.0], [0.0, 2.0]])
    assert torch.equal(threshold_mask(scores), torch.tensor([[0.0, 1.0], [1.0, 1.0]]))


def test_top_k_gradients_are_those_of_the_paper_s_code() -> None:
    scores, weights, x = (torch.randn(6, 6, generator=rng(index)) for index in range(3))
    scores.requires_grad_()
    used = weights * TopK.apply(scores.abs(), 0.4)
    used.retain_grad()
    (x @ used).relu().pow(2).sum().backward()
    of_mask = mask_gradient(used.grad, weights)
    torch.testing.assert_close(top_k_score_gradient(of_mask, scores.detach()), scores.grad)


def test_threshold_gradients_are_the_mask_s() -> None:
    scores, weights, x = (torch.randn(6, 6, generator=rng(index)) for index in range(3))
    mask = threshold_mask(scores).requires_grad_()
    used = weights * mask
    used.retain_grad()
    (x @ used).relu().pow(2).sum().backward()
    torch.testing.assert_close(threshold_score_gradient(mask_gradient(used.grad, weights)), mask.grad)


@pytest.mark.parametrize(
    ("arguments", "density"),
    [
        ((16, 512, 512, 9), 16 * 1024 / (512 * 512 * 9)),  # 0.00694
        ((1, 784, 300), 1084 / 235200),
        ((8, 64, 64), 0.25),  # 8 * 128 / 4096
        ((16, 64, 64), 0.5),
        ((17, 64, 64), 0.5),  # no more than half
        ((2, 3, 20, 9), 46 / 540),
    ],
)
def test_density_by_hand(arguments: tuple[float, int, int, int], density: float) -> None:
    assert erdos_renyi_density(*arguments) == pytest.approx(density)


def test_density_of_nothing_is_refused() -> None:
    with pytest.raises(ValueError, match="c_in=0 must be positive"):
        erdos_renyi_density(1, 0, 3)

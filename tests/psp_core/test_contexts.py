import math
from typing import ClassVar

import pytest
import torch

from psp_core.contexts import CONTEXTS, Context, get_context
from psp_core.contexts.rotation import haar_orthogonal
from psp_core.randomness import generator
from tests.contracts import SIZE, ContextContract, rng


class TestNone(ContextContract):
    context: ClassVar[Context] = CONTEXTS["none"]

    def test_changes_nothing_and_costs_nothing(self) -> None:
        x = self.inputs()
        assert torch.equal(self.context.bind(x, self.context.sample(1, SIZE, rng())[0]), x)
        assert self.context.bytes_per_task(784) == 0


class TestBinary(ContextContract):
    context: ClassVar[Context] = CONTEXTS["binary"]

    def test_is_fair_signs(self) -> None:
        signs = self.context.sample(100, 1000, rng())
        assert set(signs.unique().tolist()) == {-1.0, 1.0}
        assert abs(signs.mean().item()) < 5 / math.sqrt(signs.numel())

    def test_costs_a_bit_for_each_input(self) -> None:
        assert self.context.bytes_per_task(784) == 98
        assert self.context.bytes_per_task(9) == 2


class TestComplex(ContextContract):
    context: ClassVar[Context] = CONTEXTS["complex"]

    def test_is_the_complex_product(self) -> None:
        x, c = self.inputs(), self.context.sample(1, SIZE, rng())[0]
        expected = torch.complex(x[:, 0], x[:, 1]) * torch.complex(c[0], c[1])
        bound = self.context.bind(x, c)
        torch.testing.assert_close(torch.complex(bound[:, 0], bound[:, 1]), expected)

    def test_phases_are_uniform(self) -> None:
        c = self.context.sample(100, 1000, rng())
        angle = torch.atan2(c[:, 1], c[:, 0]).flatten()
        counts = torch.histc(angle, bins=10, min=-math.pi, max=math.pi)
        assert ((counts - 10_000).abs() < 5 * math.sqrt(10_000)).all()


class TestOnePower(ContextContract):
    context: ClassVar[Context] = CONTEXTS["one-power"]

    def test_task_k_is_power_k_plus_1_of_the_first(self) -> None:
        c = self.context.sample(6, SIZE, rng())
        first = torch.complex(c[0, 0], c[0, 1])
        for k in range(6):
            torch.testing.assert_close(torch.complex(c[k, 0], c[k, 1]), first ** (k + 1), atol=1e-5, rtol=0)

    def test_costs_one_number(self) -> None:
        assert self.context.bytes_per_task(784) == 4


class TestRotation(ContextContract):
    context: ClassVar[Context] = CONTEXTS["rotation"]

    def test_is_orthogonal(self) -> None:
        for c in self.context.sample(3, SIZE, rng()):
            torch.testing.assert_close(c @ c.T, torch.eye(SIZE), atol=1e-5, rtol=0)

    def test_is_haar_distributed(self) -> None:
        """Mean 0 and variance 1/n of every entry; without the sign correction the diagonal is biased."""
        draws = torch.stack([haar_orthogonal(3, rng(i)) for i in range(4000)])
        assert (draws.mean(dim=0).abs() < 5 / math.sqrt(3 * 4000)).all()
        torch.testing.assert_close(draws.square().mean(dim=0), torch.full((3, 3), 1 / 3), atol=0.03, rtol=0)

    def test_costs_a_matrix(self) -> None:
        assert self.context.bytes_per_task(784) == 4 * 784 * 784


@pytest.mark.parametrize(
    ("name", "expected"), [("binary", "elementwise"), ("complex", "elementwise"), ("rotation", "norms")]
)
def test_crosstalk_has_the_predicted_mean_and_variance(name: str, expected: str) -> None:
    """Proposition 1 (mean 0) and 2 (second moment) of paper A, for one interfering model.

    Binary and complex: E|eps|^2 = sum |w_i|^2 |x_i|^2; rotation: |w|^2 |x|^2 / M.
    """
    context, size, draws = get_context(name), 32, 4000
    w, x = torch.randn(2, size, generator=rng(5))
    predicted = (w * x).square().sum() if expected == "elementwise" else w.square().sum() * x.square().sum() / size
    batch = torch.stack([x, torch.zeros_like(x)])[None] if context.is_complex else x[None]
    crosstalk = []
    for draw in range(draws):
        c = context.sample(2, size, generator(draw, "crosstalk"))
        (bound,) = context.unbind(context.bind(batch, c[0]), c[1])  # c(s)^-1 c(k) x
        crosstalk.append(bound @ w)
    eps = torch.stack(crosstalk)  # complex: real and imaginary part of each draw
    second_moment = eps.square().sum() / draws
    assert (eps.mean(dim=0).abs() < 5 * math.sqrt(predicted / draws)).all()
    torch.testing.assert_close(second_moment, predicted, rtol=0.12, atol=0)


def test_a_misspelt_context_is_answered_with_the_nearest() -> None:
    with pytest.raises(ValueError, match=r"context='binray' is not known; did you mean 'binary'\?"):
        get_context("binray")

import math
from typing import ClassVar

import pytest
import scipy.linalg
import torch
from torch import Tensor

from psp_core.contexts import CONTEXTS, Context, get_context
from psp_core.contexts.binary import Binary
from psp_core.contexts.hadamard import hadamard_entries
from psp_core.contexts.permutation import Permutation
from psp_core.contexts.rotation import haar_orthogonal
from psp_core.contexts.structured_rotation import (
    block_permutation,
    blocks,
    kronecker_factors,
)
from psp_core.randomness import generator
from tests.contracts import SIZE, ContextContract, Moments, assert_mean, crosstalk, inheriting, rng


class TestNone(ContextContract):
    context: ClassVar[Context] = get_context("none")

    def test_changes_nothing_and_costs_nothing(self) -> None:
        x = self.inputs()
        assert torch.equal(self.context.bind(x, self.context.sample(1, SIZE, rng())[0]), x)
        assert self.context.bytes_per_task(784) == 0


class TestBinary(ContextContract):
    context: ClassVar[Context] = get_context("binary")

    def test_is_fair_signs(self) -> None:
        signs = self.context.sample(100, 1000, rng())
        assert set(signs.unique().tolist()) == {-1.0, 1.0}
        assert abs(signs.mean().item()) < 5 / math.sqrt(signs.numel())

    def test_costs_a_bit_for_each_input(self) -> None:
        assert self.context.bytes_per_task(784) == 98
        assert self.context.bytes_per_task(9) == 2


class TestComplex(ContextContract):
    context: ClassVar[Context] = get_context("complex")

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
    context: ClassVar[Context] = get_context("one-power")

    def test_task_k_is_power_k_plus_1_of_the_first(self) -> None:
        c = self.context.sample(6, SIZE, rng())
        first = torch.complex(c[0, 0], c[0, 1])
        for k in range(6):
            torch.testing.assert_close(torch.complex(c[k, 0], c[k, 1]), first ** (k + 1), atol=1e-5, rtol=0)

    def test_costs_one_number(self) -> None:
        assert self.context.bytes_per_task(784) == 4


class TestRotation(ContextContract):
    context: ClassVar[Context] = get_context("rotation")

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


class TestRotationPowers(ContextContract):
    context: ClassVar[Context] = get_context("rotation-powers")

    def moments(self, w: Tensor, x: Tensor) -> Moments:
        """Of tasks 0 and 1, which are one rotation apart."""
        return torch.tensor(0.0), w.square().sum() * x.square().sum() / len(x)

    def test_task_k_is_power_k_plus_1_of_the_first(self) -> None:
        c = self.context.sample(6, SIZE, rng())
        for k in range(6):
            torch.testing.assert_close(c[k], torch.linalg.matrix_power(c[0], k + 1), atol=1e-5, rtol=0)

    def test_high_powers_are_still_orthogonal(self) -> None:
        c = self.context.sample(200, SIZE, rng())[-1]
        torch.testing.assert_close(c @ c.T, torch.eye(SIZE), atol=1e-6, rtol=0)

    @pytest.mark.parametrize("apart", [1, 2, 3])
    def test_crosstalk_grows_with_the_distance_of_tasks(self, apart: int) -> None:
        """E <x, Q^j x>^2 = (I + 1 + j + [j even]) / (I (I + 2)) for |x| = 1: the docstring's, at I = 16."""
        size, x = 16, torch.zeros(16)
        x[3] = 1
        crosstalk = []
        for draw in range(4000):
            c = self.context.sample(apart + 1, size, generator(draw, "crosstalk"))
            crosstalk.append((c[0] @ x) @ (c[apart] @ x))
        expected = (size + 1 + apart + (apart % 2 == 0)) / (size * (size + 2))
        assert_mean(torch.stack(crosstalk).square(), expected)

    def test_costs_a_matrix_once_and_a_number_for_each_task(self) -> None:
        assert (self.context.bytes_once(784), self.context.bytes_per_task(784)) == (4 * 784 * 784, 4)


class TestHouseholder(ContextContract):
    context: ClassVar[Context] = get_context("householder")

    def moments(self, w: Tensor, x: Tensor) -> Moments:
        """E C A C for A = x x^T is a x x^T + b |x|^2."""
        size, product = len(x), (w * x).sum()
        a, b = 1 - 4 / size + 8 / (size * (size + 2)), 4 / (size * (size + 2))
        norms = w.square().sum() * x.square().sum()
        return (1 - 2 / size) ** 2 * product, a * a * product**2 + b * (1 + a) * norms

    def test_reflects_v_and_leaves_what_is_perpendicular(self) -> None:
        (v,) = self.context.sample(1, SIZE, rng())
        x = self.inputs()
        perpendicular = x - torch.outer(x @ v, v) / v.square().sum()
        torch.testing.assert_close(self.context.bind(v[None], v), -v[None])
        torch.testing.assert_close(self.context.bind(perpendicular, v), perpendicular)

    def test_the_length_of_v_does_not_matter(self) -> None:
        """So training cannot take it from orthogonal."""
        (v,) = self.context.sample(1, SIZE, rng())
        torch.testing.assert_close(self.context.bind(self.inputs(), 3 * v), self.context.bind(self.inputs(), v))

    def test_costs_a_vector(self) -> None:
        assert self.context.bytes_per_task(784) == 4 * 784


class TestPermutation(ContextContract):
    context: ClassVar[Context] = get_context("permutation")

    def moments(self, w: Tensor, x: Tensor) -> Moments:
        size = len(x)
        mean, spread = size * w.mean() * x.mean(), size * size * w.var(correction=0) * x.var(correction=0)
        return mean, mean**2 + spread / (size - 1)

    def test_is_a_permutation_of_the_inputs(self) -> None:
        (c,) = self.context.sample(1, SIZE, rng())
        assert sorted(c.tolist()) == list(range(SIZE))
        assert torch.equal(self.context.bind(self.inputs(), c), self.inputs()[:, c.long()])

    def test_costs_an_index_for_each_input(self) -> None:
        assert self.context.bytes_per_task(784) == 784 * 10 // 8
        assert self.context.bytes_per_task(256) == 256
        assert self.context.bytes_per_task(9) == 5  # 36 bits


class TestSignedPermutation(ContextContract):
    context: ClassVar[Context] = get_context("signed-permutation")

    def test_is_a_permutation_with_signs(self) -> None:
        (c,) = self.context.sample(1, SIZE, rng())
        assert sorted(c.abs().tolist()) == list(range(1, SIZE + 1))
        expected = self.inputs()[:, c.abs().long() - 1] * c.sign()
        assert torch.equal(self.context.bind(self.inputs(), c), expected)

    def test_signs_are_fair(self) -> None:
        signs = self.context.sample(100, 1000, rng()).sign()
        assert abs(signs.mean().item()) < 5 / math.sqrt(signs.numel())

    def test_costs_a_bit_more_for_each_input(self) -> None:
        assert self.context.bytes_per_task(784) == 784 * 11 // 8


class TestHadamard(ContextContract):
    context: ClassVar[Context] = get_context("hadamard")

    def moments(self, w: Tensor, x: Tensor) -> Moments:
        """Of two different rows, all columns of which are there."""
        product, size = w * x, len(x)
        return torch.tensor(0.0), (size * product.square().sum() - product.sum() ** 2) / (size - 1)

    @pytest.mark.parametrize("size", [1, 2, 16])
    def test_has_the_rows_of_scipys_matrix_where_the_size_is_a_power_of_two(self, size: int) -> None:
        found = hadamard_entries(torch.arange(size)[:, None], torch.arange(size))
        assert torch.equal(found, torch.from_numpy(scipy.linalg.hadamard(size)).float())
        c = self.context.sample(size, size, rng())
        assert torch.equal(c @ c.T, size * torch.eye(size))

    def test_rows_of_other_sizes_are_as_orthogonal_as_it_says(self) -> None:
        """The mean square of two rows' scalar product is I (N - I) / (N - 1), whatever the columns."""
        c = self.context.sample(32, SIZE, rng())
        products = c @ c.T
        assert torch.equal(products.diagonal(), torch.full((32,), float(SIZE)))
        mean_square = products.fill_diagonal_(0).square().sum() / (32 * 31)
        torch.testing.assert_close(mean_square, torch.tensor(SIZE * (32 - SIZE) / 31))

    def test_costs_the_number_of_a_row(self) -> None:
        assert (self.context.max_tasks(784), self.context.bytes_per_task(784)) == (1024, 4)


class TestMask(ContextContract):
    context: ClassVar[Context] = get_context("mask")

    def moments(self, w: Tensor, x: Tensor) -> Moments:
        product = w * x
        return product.sum() / 4, product.sum() ** 2 / 16 + product.square().sum() * 3 / 16

    def test_half_of_the_inputs_are_there(self) -> None:
        mask = self.context.sample(100, 1000, rng())
        assert set(mask.unique().tolist()) == {0.0, 1.0}
        assert abs(mask.mean().item() - 0.5) < 5 * 0.5 / math.sqrt(mask.numel())

    def test_costs_a_bit_for_each_input(self) -> None:
        assert self.context.bytes_per_task(784) == 98


class TestTernary(ContextContract):
    context: ClassVar[Context] = get_context("ternary")

    def test_three_values_are_equally_likely(self) -> None:
        values, counts = self.context.sample(100, 1000, rng()).unique(return_counts=True)
        assert values.tolist() == [-1.0, 0.0, 1.0]
        assert ((counts - 1e5 / 3).abs() < 5 * math.sqrt(1e5 * 2 / 9)).all()

    def test_costs_a_byte_for_five_inputs(self) -> None:
        assert self.context.bytes_per_task(784) == 157


class TestGaussian(ContextContract):
    context: ClassVar[Context] = get_context("gaussian")

    def test_entries_have_mean_0_and_variance_1(self) -> None:
        c = self.context.sample(100, 1000, rng())
        assert_mean(c.flatten(), 0.0)
        assert_mean(c.flatten().square(), 1.0)

    def test_costs_a_number_for_each_input(self) -> None:
        assert self.context.bytes_per_task(784) == 4 * 784


class TestFourier(ContextContract):
    context: ClassVar[Context] = get_context("fourier")

    def moments(self, w: Tensor, x: Tensor) -> Moments:
        """Of two different frequencies."""
        product, size = w * x, len(x)
        second = (size * product.square().sum() - product.sum() ** 2) / (size - 1)
        return (size * product[0] - product.sum()) / (size - 1), second

    @pytest.mark.parametrize("size", [7, SIZE])
    def test_has_the_rows_of_the_fourier_transform(self, size: int) -> None:
        """FFT of a row has its whole length at one frequency, another for each task."""
        c = self.context.sample(size, size, rng())
        spectrum = torch.fft.fft(torch.complex(c[:, 0], c[:, 1])).abs()
        assert sorted(spectrum.argmax(dim=1).tolist()) == list(range(size))
        torch.testing.assert_close(spectrum.amax(dim=1), torch.full((size,), float(size)))

    def test_rows_are_orthogonal_to_each_other(self) -> None:
        c = self.context.sample(SIZE, SIZE, rng())
        rows = torch.complex(c[:, 0], c[:, 1])
        torch.testing.assert_close(rows @ rows.mH, SIZE * torch.eye(SIZE).cfloat(), atol=1e-4, rtol=0)

    def test_costs_its_frequency(self) -> None:
        assert (self.context.max_tasks(784), self.context.bytes_per_task(784)) == (784, 4)


class TestPlainComplex(ContextContract):
    context: ClassVar[Context] = get_context("plain-complex")

    def test_changes_nothing_and_costs_nothing(self) -> None:
        (c,) = self.context.sample(1, SIZE, rng())
        assert torch.equal(self.context.bind(self.inputs(), c), self.inputs())
        assert (self.context.is_trivial, self.context.bytes_per_task(784)) == (True, 0)


class TestStructuredRotation(ContextContract):
    context: ClassVar[Context] = get_context("structured-rotation")
    num_transforms = 2

    @pytest.mark.parametrize("size", [1, 23, 64, 96])
    def test_is_the_product_of_its_factors(self, size: int) -> None:
        """D_T H P_T ... D_1 H P_1 D_0 as matrices, with scipy's Hadamard matrices for the blocks."""
        (c,) = self.context.sample(1, size, rng())
        hadamard = torch.from_numpy(scipy.linalg.block_diag(*(scipy.linalg.hadamard(b) / b**0.5 for b in blocks(size))))
        matrix = c[0].double().diag()
        for t in range(1, self.num_transforms + 1):
            if len(blocks(size)) > 1:
                matrix = matrix[block_permutation(size, t)]
            matrix = c[t].double().diag() @ hadamard @ matrix
        bound = self.context.bind(torch.eye(size), c).T  # rows of the unit matrix to columns of the map's
        torch.testing.assert_close(bound, matrix.float(), atol=1e-6, rtol=0)

    @pytest.mark.parametrize("size", [24, 64, 784])
    def test_is_orthogonal(self, size: int) -> None:
        for c in self.context.sample(2, size, rng()):
            matrix = self.context.bind(torch.eye(size), c)
            torch.testing.assert_close(matrix @ matrix.T, torch.eye(size), atol=1e-5, rtol=0)

    @pytest.mark.parametrize("num_nonzero", [1, 5])
    @pytest.mark.parametrize("size", [256, 784])
    def test_crosstalk_of_concentrated_vectors_is_that_of_rotations(self, size: int, num_nonzero: int) -> None:
        """With w = x, which is not zero at the last few places, binary contexts have I / num_nonzero times as much.

        2000 draws: the mean of eps^2 lies within 5 of its standard errors (about 3% each) of the exact value.
        That one is |w|^2 |x|^2 / I at powers of two, else less than 1% more for two transforms here.
        """
        w = torch.zeros(size)
        w[-num_nonzero:] = 1
        exact = structured_crosstalk(size, self.num_transforms, w, w)
        assert_mean(crosstalk(self.context, w, w, num_draws=2000)[:, 0].square(), exact)
        of_rotations = num_nonzero**2 / size
        if size == 256:
            assert exact == pytest.approx(of_rotations)
        elif self.num_transforms == 2:
            assert of_rotations <= exact < 1.01 * of_rotations
        assert exact < 0.02 * num_nonzero  # sum w_i^2 x_i^2 = num_nonzero, of binary contexts

    def test_costs_bits(self) -> None:
        assert self.context.bytes_once(784) == 0
        assert self.context.bytes_per_task(784) == 98 * (self.num_transforms + 1)
        assert self.context.bytes_per_task(9) == -(-9 * (self.num_transforms + 1) // 8)

    @pytest.mark.parametrize("size", [1, 6, 300, 784, 2048, 4608])
    def test_blocks_and_their_factors_make_up_the_size(self, size: int) -> None:
        assert sum(blocks(size)) == size
        for block in blocks(size):
            assert math.prod(kronecker_factors(block)) == block
            assert max(kronecker_factors(block), default=1) <= 32
        assert self.context.num_products(size) <= self.num_transforms * 6 * size * math.log2(2 * size)


class TestStructuredRotationOfOneTransform(TestStructuredRotation):
    context: ClassVar[Context] = get_context("structured-rotation-1")
    num_transforms = 1


def structured_crosstalk(size: int, num_transforms: int, w: torch.Tensor, x: torch.Tensor) -> float:
    """E (w^T C(s)^T C(k) x)^2 exactly: sum_b E|w_b|^2 E|x_b|^2 / I_b over the last transform's blocks.

    Random signs make what leaves a block equally large everywhere in it, on average.
    """
    squares = torch.stack([w, x]).double().square()
    for t in range(1, num_transforms + 1):
        if len(blocks(size)) > 1:
            squares = squares[:, block_permutation(size, t)]
        of_blocks = [part.mean(1, keepdim=True).expand_as(part) for part in squares.split(blocks(size), dim=1)]
        squares = torch.cat(of_blocks, dim=1)
    return float(squares.prod(0).sum())


def test_every_context_has_its_tests() -> None:
    """In any file of tests."""
    assert set(CONTEXTS) <= {inherits.context.name for inherits in inheriting(ContextContract)}


class Indices(Permutation):
    """A context that does not say that it cannot be trained."""

    is_learnable: ClassVar[bool] = True


class Thresholds(Binary):
    """A context whose numbers are looked at and not used."""

    def bind(self, x: Tensor, context: Tensor) -> Tensor:
        """Signs of the numbers."""
        return super().bind(x, context.sign())


@pytest.mark.parametrize("context", [Indices(), Thresholds()])
def test_a_context_that_cannot_be_trained_and_does_not_say_so_breaks_the_contract(context: Context) -> None:
    """Otherwise `learned_contexts: true` would train nothing, silently."""
    contract = type("Contract", (), dict(vars(ContextContract), context=context))()
    with pytest.raises(AssertionError, match="say is_learnable = False"):
        contract.test_gradients_reach_each_number_of_what_can_be_trained()


def test_a_misspelt_context_is_answered_with_the_nearest() -> None:
    with pytest.raises(ValueError, match=r"context='binray' is not known; did you mean 'binary'\?"):
        get_context("binray")

import pytest
import scipy.sparse
import torch
from hypothesis import given
from hypothesis import strategies as st

from psp_core.supermasks import bit_bytes, csc_bytes, packed, unpacked
from tests.contracts import rng


@given(st.lists(st.booleans(), min_size=1, max_size=70))
def test_bits_give_the_mask_again(values: list[bool]) -> None:
    mask = torch.tensor(values)
    bits = packed(mask)
    assert bits.dtype == torch.uint8
    assert bits.shape == (bit_bytes(len(values)),)
    assert torch.equal(unpacked(bits, (len(values),)), mask.float())


@pytest.mark.parametrize("dtype", [torch.bool, torch.uint8, torch.float32])
def test_members_are_packed_each_alone(dtype: torch.dtype) -> None:
    masks = torch.randint(2, (3, 7, 5), generator=rng()).to(dtype)
    bits = packed(masks.flatten(-2))
    assert torch.equal(bits, torch.stack([packed(mask.flatten()) for mask in masks]))
    assert torch.equal(unpacked(bits, (7, 5)), masks.float())


def test_weight_j_is_bit_j_div_c_of_byte_j_mod_c() -> None:
    for j in range(20):
        (byte,) = packed(torch.arange(20) == j).nonzero()
        assert byte.item() == j % 3
        assert packed(torch.arange(20) == j)[byte].item() == 1 << j // 3


@pytest.mark.parametrize(("num_weights", "num_bytes"), [(0, 0), (1, 1), (8, 1), (9, 2), (266_200, 33_275)])
def test_eight_weights_are_a_byte(num_weights: int, num_bytes: int) -> None:
    assert bit_bytes(num_weights) == num_bytes


def test_bits_of_another_shape_are_refused() -> None:
    with pytest.raises(ValueError, match=r"shape=\(4, 5\) has 20 weights, whose bits are 3 bytes; bits has 2"):
        unpacked(torch.zeros(2, dtype=torch.uint8), (4, 5))


@pytest.mark.parametrize("density", [0.0, 0.1, 1.0])
def test_csc_bytes_are_those_of_scipy_s_indices_at_two_bytes(density: float) -> None:
    mask = (torch.rand(30, 20, generator=rng()) < density).float()
    matrix = scipy.sparse.csc_matrix(mask.numpy())
    assert csc_bytes(mask) == 2 * (len(matrix.indices) + len(matrix.indptr))


def test_sixteen_bits_number_so_many_inputs() -> None:
    assert csc_bytes(torch.ones(2**16, 1)) == 2**17 + 4
    with pytest.raises(ValueError, match="a mask of 65537 inputs"):
        csc_bytes(torch.ones(2**16 + 1, 1))

import pytest
import torch
from torch import Tensor

from psp_core.supermasks import RULES, HopfieldMemory
from tests.contracts import rng

SIZE = 128


def patterns(number: int, seed: int = 0) -> Tensor:
    return torch.randint(2, (number, SIZE), generator=rng(seed)).float()


def filled(rule: str, number: int, seed: int = 0) -> tuple[HopfieldMemory, Tensor]:
    """A memory of random masks, and z = 2 M - 1 of each."""
    memory, masks = HopfieldMemory(SIZE, rule), patterns(number, seed)
    for mask in masks:
        memory.append(mask)
    return memory, 2 * masks - 1


def share_kept(rule: str, number: int) -> float:
    """The share of random patterns that are fixed points, over three draws."""
    draws = [filled(rule, number, seed) for seed in range(3)]
    return torch.stack([(memory.update(z) == z).all(-1).float().mean() for memory, z in draws]).mean().item()


def test_hebb_s_rule_is_the_sum_of_outer_products() -> None:
    memory, z = filled("hebb", 5)
    torch.testing.assert_close(memory.psi, z.T @ z / SIZE)


def test_storkey_s_rule_unit_by_unit() -> None:
    """Against loops over the entries, from the formula: h_i = sum_k Psi_ik z_k."""
    masks, size = patterns(3)[:, :6], 6
    memory, psi = HopfieldMemory(size), torch.zeros(size, size)
    for mask in masks:
        memory.append(mask)
        z = 2 * mask - 1
        h = [sum(psi[i, k] * z[k] for k in range(size)) for i in range(size)]
        change = torch.tensor(
            [[z[i] * z[j] - float(i == j) - z[i] * h[j] - h[i] * z[j] for j in range(size)] for i in range(size)]
        )
        psi = psi + change / size
    torch.testing.assert_close(memory.psi, psi)


@pytest.mark.parametrize(("rule", "energy"), [("hebb", -SIZE / 2), ("storkey", -(SIZE - 1) / 2)])
def test_one_pattern_is_a_fixed_point_of_known_energy(rule: str, energy: float) -> None:
    memory, (z,) = filled(rule, 1)
    assert torch.equal(memory.update(z), z)
    assert memory.energy(z).item() == pytest.approx(energy)
    assert memory.energy(-z).item() == pytest.approx(energy)


@pytest.mark.parametrize("rule", RULES)
def test_one_pattern_is_found_from_anywhere_near(rule: str) -> None:
    memory, (z,) = filled(rule, 1)
    near = torch.where(torch.arange(SIZE) < SIZE // 3, -z, z)
    assert torch.equal(memory.update(near), z)


def test_the_pattern_stored_last_is_an_eigenvector_of_storkey_s() -> None:
    """Psi z = (1 - (1 + h.z) / D) z, with h the field before."""
    before, _ = filled("storkey", 20)
    memory, z = filled("storkey", 21)
    last = z[-1]
    eigenvalue = 1 - (1 + (before.psi @ last) @ last) / SIZE
    torch.testing.assert_close(memory.psi @ last, eigenvalue * last, rtol=1e-4, atol=1e-5)


def test_storkey_s_keeps_more_than_hebb_s() -> None:
    """Of 0.2 D patterns, more than Hebb's 0.138 D; of 0.05 D both keep all."""
    few, more = SIZE // 20, SIZE // 5
    assert share_kept("hebb", few) == 1
    assert share_kept("storkey", few) == 1
    assert share_kept("storkey", more) > 0.95
    assert share_kept("hebb", more) < 0.8


@pytest.mark.parametrize("rule", RULES)
def test_the_energy_s_gradient_is_autograd_s(rule: str) -> None:
    memory, _ = filled(rule, 4)
    z = torch.randn(3, SIZE, generator=rng(5)).requires_grad_()
    (gradient,) = torch.autograd.grad(memory.energy(z).sum(), z)
    torch.testing.assert_close(memory.energy_gradient(z.detach()), gradient)


def test_storage_does_not_grow() -> None:
    memory, z = filled("storkey", 3)
    assert memory.num_bytes == 4 * (SIZE**2 + SIZE)
    assert len(memory) == 3
    torch.testing.assert_close(memory.mean, z.mean(0))


def test_a_store_goes_on_from_its_state() -> None:
    first, _ = filled("storkey", 3)
    second = HopfieldMemory(SIZE)
    second.load_state_dict(first.state_dict())
    for memory in (first, second):
        memory.append(patterns(1, seed=9)[0])
    assert torch.equal(first.psi, second.psi)
    assert torch.equal(first.mean, second.mean)


def test_an_unknown_rule_is_refused() -> None:
    with pytest.raises(ValueError, match=r"rule='heb' is not known; did you mean 'hebb'"):
        HopfieldMemory(4, "heb")

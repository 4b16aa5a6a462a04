import pytest
import torch
from torch import Tensor

from psp_core.supermasks import RULES, HopfieldStore
from tests.contracts import rng

SIZE = 128


def patterns(number: int, seed: int = 0) -> Tensor:
    return torch.randint(2, (number, SIZE), generator=rng(seed)).float()


def filled(rule: str, number: int, seed: int = 0) -> tuple[HopfieldStore, Tensor]:
    """A store of random masks, and z = 2 M - 1 of each."""
    store, masks = HopfieldStore(SIZE, rule), patterns(number, seed)
    for mask in masks:
        store.append(mask)
    return store, 2 * masks - 1


def share_kept(rule: str, number: int) -> float:
    """The share of random patterns that are fixed points, over three draws."""
    draws = [filled(rule, number, seed) for seed in range(3)]
    return torch.stack([(store.update(z) == z).all(-1).float().mean() for store, z in draws]).mean().item()


def test_hebb_s_rule_is_the_sum_of_outer_products() -> None:
    store, z = filled("hebb", 5)
    torch.testing.assert_close(store.psi, z.T @ z / SIZE)


def test_storkey_s_rule_unit_by_unit() -> None:
    """Against loops over the entries, from the formula: h_i = sum_k Psi_ik z_k."""
    masks, size = patterns(3)[:, :6], 6
    store, psi = HopfieldStore(size), torch.zeros(size, size)
    for mask in masks:
        store.append(mask)
        z = 2 * mask - 1
        h = [sum(psi[i, k] * z[k] for k in range(size)) for i in range(size)]
        change = torch.tensor(
            [[z[i] * z[j] - float(i == j) - z[i] * h[j] - h[i] * z[j] for j in range(size)] for i in range(size)]
        )
        psi = psi + change / size
    torch.testing.assert_close(store.psi, psi)


@pytest.mark.parametrize(("rule", "energy"), [("hebb", -SIZE / 2), ("storkey", -(SIZE - 1) / 2)])
def test_one_pattern_is_a_fixed_point_of_known_energy(rule: str, energy: float) -> None:
    store, (z,) = filled(rule, 1)
    assert torch.equal(store.update(z), z)
    assert store.energy(z).item() == pytest.approx(energy)
    assert store.energy(-z).item() == pytest.approx(energy)


@pytest.mark.parametrize("rule", RULES)
def test_one_pattern_is_found_from_anywhere_near(rule: str) -> None:
    store, (z,) = filled(rule, 1)
    near = torch.where(torch.arange(SIZE) < SIZE // 3, -z, z)
    assert torch.equal(store.update(near), z)


def test_the_pattern_stored_last_is_an_eigenvector_of_storkey_s() -> None:
    """Psi z = (1 - (1 + h.z) / D) z, with h the field before."""
    before, _ = filled("storkey", 20)
    store, z = filled("storkey", 21)
    last = z[-1]
    eigenvalue = 1 - (1 + (before.psi @ last) @ last) / SIZE
    torch.testing.assert_close(store.psi @ last, eigenvalue * last, rtol=1e-4, atol=1e-5)


def test_storkey_s_keeps_more_than_hebb_s() -> None:
    """Of 0.2 D patterns, more than Hebb's 0.138 D; of 0.05 D both keep all."""
    few, more = SIZE // 20, SIZE // 5
    assert share_kept("hebb", few) == 1
    assert share_kept("storkey", few) == 1
    assert share_kept("storkey", more) > 0.95
    assert share_kept("hebb", more) < 0.8


@pytest.mark.parametrize("rule", RULES)
def test_the_energy_s_gradient_is_autograd_s(rule: str) -> None:
    store, _ = filled(rule, 4)
    z = torch.randn(3, SIZE, generator=rng(5)).requires_grad_()
    (gradient,) = torch.autograd.grad(store.energy(z).sum(), z)
    torch.testing.assert_close(store.energy_gradient(z.detach()), gradient)


def test_storage_does_not_grow() -> None:
    store, z = filled("storkey", 3)
    assert store.num_bytes == 4 * (SIZE**2 + SIZE)
    assert len(store) == 3
    torch.testing.assert_close(store.mean, z.mean(0))


def test_a_store_goes_on_from_its_state() -> None:
    first, _ = filled("storkey", 3)
    second = HopfieldStore(SIZE)
    second.load_state_dict(first.state_dict())
    for store in (first, second):
        store.append(patterns(1, seed=9)[0])
    assert torch.equal(first.psi, second.psi)
    assert torch.equal(first.mean, second.mean)


def test_an_unknown_rule_is_refused() -> None:
    with pytest.raises(ValueError, match=r"rule='heb' is not known; did you mean 'hebb'"):
        HopfieldStore(4, "heb")

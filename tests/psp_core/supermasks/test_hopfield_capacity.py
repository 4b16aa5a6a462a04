import math

import pytest
import torch

from psp_core.supermasks import HopfieldMemory
from psp_core.supermasks.hopfield_capacity import THEORY, Load, capacity, measure_loads, recall
from tests.contracts import rng

SIZE = 400
NUMBERS = [SIZE * percent // 100 for percent in range(4, 46, 2)]


def loads(rule: str, flipped: float, seed: int = 0, numbers: list[int] = NUMBERS) -> list[Load]:
    return list(measure_loads(rule, SIZE, numbers, flipped=flipped, rng=rng(seed)))


def test_hebb_s_masks_are_fixed_points_as_often_as_gaussian_crosstalk_says() -> None:
    """A unit's field is z (D - 1) / D plus crosstalk of variance (K - 1) (D - 1) / D^2: all of D keep their sign."""
    numbers = NUMBERS[:8]
    draws = [loads("hebb", 0.0, seed, numbers) for seed in range(4)]
    for index, number in enumerate(numbers):
        of_unit = 0.5 * (1 + math.erf(math.sqrt((SIZE - 1) / (number - 1)) / math.sqrt(2)))
        measured = sum(draw[index].fixed for draw in draws) / len(draws)
        assert measured == pytest.approx(of_unit**SIZE, abs=0.12), number


@pytest.mark.parametrize(("flipped", "least", "most"), [(0.0, 0.13, 0.18), (0.1, 0.12, 0.17), (0.2, 0.10, 0.15)])
def test_hebb_s_rule_recalls_about_0138_masks_a_unit(flipped: float, least: float, most: float) -> None:
    """The limit is theory's for D without end; at 400 units the fall is not sharp yet."""
    assert least <= capacity(loads("hebb", flipped)) / SIZE <= most


def test_storkey_s_rule_recalls_more() -> None:
    """All but 5% of 0.25 D masks from themselves; and at every load and probe at least as many as Hebb's."""
    assert capacity(loads("storkey", 0.0), share=0.95) / SIZE == pytest.approx(THEORY["storkey"], abs=0.05)
    for flipped in (0.0, 0.1, 0.2):
        hebb, storkey = loads("hebb", flipped), loads("storkey", flipped)
        assert capacity(storkey) > 1.7 * capacity(hebb)
        assert all(s.recalled >= h.recalled - 0.05 for s, h in zip(storkey, hebb, strict=True))


def test_a_store_s_own_update_holds_units_where_they_are() -> None:
    """With Psi's diagonal, random masks that were never stored are fixed points sooner than without."""
    memory = HopfieldMemory(SIZE, "hebb")
    for number in range(4 * SIZE):
        memory.append(torch.randint(2, (SIZE,), generator=rng(number)))
    z = 2.0 * torch.randint(2, (20, SIZE), generator=rng(-1)) - 1
    agreement = [(update == z).float().mean().item() for update in (memory.update(z), recall(memory, z, 1))]
    assert agreement[0] > 0.95
    assert agreement[1] == pytest.approx(0.5, abs=0.03)


def test_probes_of_one_mask_lead_to_it_and_settle() -> None:
    memory, mask = HopfieldMemory(SIZE, "hebb"), torch.randint(2, (SIZE,), generator=rng())
    memory.append(mask)
    z = 2.0 * mask - 1
    probes = torch.where(torch.rand(10, SIZE, generator=rng(1)) < 0.4, -z, z)
    assert torch.equal(recall(memory, probes), z.expand(10, -1))


def test_a_capacity_is_the_largest_number_recalled() -> None:
    loads = [Load(num_masks=n, fixed=0.0, recalled=r) for n, r in ((5, 1.0), (10, 0.6), (15, 0.4))]
    assert (capacity(loads), capacity(loads, 0.9), capacity(loads[2:])) == (10, 5, 0)


def test_what_cannot_be_probed_is_refused() -> None:
    with pytest.raises(ValueError, match=r"flipped=0.5 must lie in \[0, 0.5\)"):
        list(measure_loads("hebb", 8, [1], flipped=0.5, rng=rng()))
    with pytest.raises(ValueError, match="rule='heb' is not known"):
        list(measure_loads("heb", 8, [1], flipped=0.0, rng=rng()))

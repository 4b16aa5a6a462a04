"""Measures how many random masks a Hopfield network holds."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final

import torch
from torch import Tensor

from psp_core.supermasks.hopfield import HopfieldMemory

# K masks stored, D units

NEAR: Final = 0.95
"""Overlap from which a mask counts as recalled; in theory Hebb's rule has 0.967 at its capacity."""

MOST_UPDATES: Final = 20

THEORY: Final = {"hebb": 0.138, "storkey": 0.25}
"""Recalled masks per unit as D grows (Amit, Gutfreund and Sompolinsky 1985; Storkey and Valabregue 1999)."""


@dataclass(frozen=True, kw_only=True)
class Load:
    """How many of its stored masks a network of D units recalls.

    Attributes:
        num_masks: K.
        fixed: the share of masks that are fixed points: no unit changes.
        recalled: the share of masks that come back from a probe: after `recall` z.z' / D is at least `NEAR`.
    """

    num_masks: int
    fixed: float
    recalled: float


def recall(memory: HopfieldMemory, probes_KD: Tensor, most_updates: int = MOST_UPDATES) -> Tensor:
    """Where probes lead: z <- sign(Psi z - diag(Psi) z), all units at once, until nothing changes.

    Psi's diagonal is left out. The diagonal grows with K and only holds units where they are, so every state would
    become a fixed point and no mask would be recalled.

    Args:
        memory: the network.
        probes_KD: ones and minus ones, (..., D).
        most_updates: the number of updates after which a probe that does not settle is left.
    """
    z_KD = probes_KD
    for _ in range(most_updates):
        before_KD, z_KD = z_KD, _updated(memory, z_KD)
        if torch.equal(z_KD, before_KD):
            break
    return z_KD


def measure_loads(
    rule: str, size: int, numbers: Sequence[int], *, flipped: float, rng: torch.Generator
) -> Iterator[Load]:
    """Store random masks one by one, and probe all stored masks whenever their number is in `numbers`.

    Args:
        rule: of `psp_core.supermasks.RULES`.
        size: D.
        numbers: of masks, in any order.
        flipped: the probability with which each entry of a mask is flipped in its probe.
        rng: draws masks and probes, on the CPU.

    Raises:
        ValueError: no rule has that name, or `flipped` is not in [0, 0.5).
    """
    if not 0 <= flipped < 0.5:
        raise ValueError(f"flipped={flipped} must lie in [0, 0.5): from one half on a probe says nothing of its mask.")
    memory, stored = HopfieldMemory(size, rule), []
    for number in range(1, max(numbers) + 1):
        mask_D = torch.randint(2, (size,), generator=rng)
        memory.append(mask_D)
        stored.append(2.0 * mask_D - 1)
        if number in numbers:
            z_KD = torch.stack(stored)
            turned_KD = torch.rand(z_KD.shape, generator=rng) < flipped
            recalled_KD = recall(memory, torch.where(turned_KD, -z_KD, z_KD))
            yield Load(
                num_masks=number,
                fixed=(_updated(memory, z_KD) == z_KD).all(1).double().mean().item(),
                recalled=((recalled_KD * z_KD).mean(1) >= NEAR).double().mean().item(),
            )


def capacity(loads: Iterable[Load], share: float = 0.5) -> int:
    """The largest number of masks of which at least this share is recalled; 0 if there is none."""
    return max((load.num_masks for load in loads if load.recalled >= share), default=0)


def _updated(memory: HopfieldMemory, z_KD: Tensor) -> Tensor:
    field_KD = z_KD @ memory.psi - z_KD * memory.psi.diagonal()
    return torch.where(field_KD >= 0, 1.0, -1.0)

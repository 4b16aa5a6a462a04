"""Masks as attractors of a Hopfield network: storage that does not grow with the number of tasks."""

from typing import Any, Final, Protocol

import torch
from torch import Tensor

from psp_core.messages import lookup

# D units, one for each entry of a mask


class Rule(Protocol):
    """The change of Psi when z is stored, before the division by D."""

    def __call__(self, z_D: Tensor, field_D: Tensor) -> Tensor:
        """The change, (D, D), given z and h = Psi z."""


def hebb(z_D: Tensor, field_D: Tensor) -> Tensor:
    """Adds z z^T: holds about 0.138 D random patterns."""
    return z_D.outer(z_D)


def storkey(z_D: Tensor, field_D: Tensor) -> Tensor:
    """Adds z z^T - I - z h^T - h z^T: the last two terms remove what Psi already predicts of z.

    Holds about 0.25 D random patterns. The pattern just stored is an eigenvector: Psi z = (1 - (1 + h.z) / D) z.
    """
    crossed = z_D.outer(field_D)
    return z_D.outer(z_D) - torch.eye(len(z_D), device=z_D.device) - crossed - crossed.T


RULES: Final[dict[str, Rule]] = {"hebb": hebb, "storkey": storkey}


class HopfieldMemory:
    """Masks of D entries in one (D, D) matrix: Psi <- Psi + rule(z, Psi z) / D, z = 2 M - 1.

    Stored masks should be minima of E(z) = - z^T Psi z / 2. `recover` finds the minimum that fits some images.

    Args:
        size: D.
        rule: of `RULES`; the paper's text has Hebb's, its code Storkey's.
        device: where Psi is kept.

    Raises:
        ValueError: no rule has that name.

    Source: HopSupSup (papers.md, B4). As in its code, h includes a unit's own term; Storkey's original leaves that
    term out.
    """

    def __init__(self, size: int, rule: str = "storkey", device: torch.device | str | None = None) -> None:
        """Begin with zeros."""
        self._rule = lookup("rule", rule, RULES)
        self.psi = torch.zeros(size, size, device=device)
        self._sum = torch.zeros(size, device=device)
        self._num_stored = 0

    def __len__(self) -> int:
        """The number of stored masks."""
        return self._num_stored

    @property
    def num_bytes(self) -> int:
        """4 (D^2 + D) bytes for Psi and the sum of the patterns, for any number of masks."""
        return self.psi.element_size() * (self.psi.numel() + self._sum.numel())

    @property
    def mean(self) -> Tensor:
        """The mean of all stored z, (D,): where recovery starts."""
        return self._sum / len(self)

    def append(self, mask: Tensor) -> None:
        """Store a mask of zeros and ones, (D,)."""
        z = 2 * mask.to(self.psi.dtype) - 1
        self.psi += self._rule(z, self.psi @ z) / len(z)
        self._sum += z
        self._num_stored += 1

    def energy(self, z: Tensor) -> Tensor:
        """E(z) = - z^T Psi z / 2, (..., D) to (...)."""
        return -0.5 * ((z @ self.psi) * z).sum(-1)

    def energy_gradient(self, z: Tensor) -> Tensor:
        """dE/dz = - Psi z, because Psi is symmetric; (..., D) to (..., D)."""
        return -(z @ self.psi)

    def update(self, z: Tensor) -> Tensor:
        """One step of all units, sign(Psi z), with sign(0) = 1; attractors do not change. (..., D) to (..., D)."""
        return torch.where(z @ self.psi >= 0, 1.0, -1.0)

    def state_dict(self) -> dict[str, Any]:
        """Psi, the sum of the patterns and their number."""
        return {"psi": self.psi, "sum": self._sum, "num_stored": self._num_stored}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore a `state_dict`."""
        self.psi.copy_(state["psi"])
        self._sum.copy_(state["sum"])
        self._num_stored = state["num_stored"]

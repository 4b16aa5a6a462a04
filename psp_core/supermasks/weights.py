"""The frozen random weights that supermasks choose from, and the scores that masks begin with."""

import math
from collections.abc import Callable
from typing import Final

import torch
from torch import Tensor

from psp_core.initial_weights import kaiming_normal, kaiming_uniform, torch_default

# I inputs, O outputs

Draw = Callable[[int, int, torch.Generator], Tensor]


def signed_kaiming_constant(in_features: int, out_features: int, rng: torch.Generator) -> Tensor:
    """Weights of one size, +c or -c with equal probability: c = sqrt(2 / I), shape (I, O).

    Source: "signed Kaiming constant" (papers.md, B4). The code takes the sign of torch's default
    weights, which is a fair coin; here the coin is drawn as such.
    """
    signs = torch.randint(2, (in_features, out_features), generator=rng) * 2 - 1
    return signs * math.sqrt(2 / in_features)


def score_init(in_features: int, out_features: int, rng: torch.Generator) -> Tensor:
    """Scores uniform in [-b, b) with b = 1 / sqrt(I), shape (I, O).

    Their signs are fair coins, so a mask by threshold begins with about half the weights.

    Source: papers.md, B4, for both kinds of masks.
    """
    return torch_default(in_features, out_features, rng)


FROZEN_WEIGHTS: Final[dict[str, Draw]] = {
    "signed-constant": signed_kaiming_constant,
    "kaiming-normal": kaiming_normal,
    "kaiming-uniform": kaiming_uniform,
    "default": torch_default,
}
"""How frozen weights are drawn, by the code's names; "default" is torch's own (BatchE RandW, papers.md B5)."""

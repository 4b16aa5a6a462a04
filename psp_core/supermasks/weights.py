"""The frozen random weights that supermasks choose from, and the scores that masks begin with."""

import math
from collections.abc import Callable
from typing import Final

import torch
from torch import Tensor, nn

# I inputs, O outputs

Draw = Callable[[int, int, torch.Generator], Tensor]


def signed_kaiming_constant(in_features: int, out_features: int, rng: torch.Generator) -> Tensor:
    """Weights of one size, +c or -c with equal probability: c = sqrt(2 / I), shape (I, O).

    Source: "signed Kaiming constant" (papers.md, B4). The code takes the sign of torch's default
    weights, which is a fair coin; here the coin is drawn as such.
    """
    signs = torch.randint(2, (in_features, out_features), generator=rng) * 2 - 1
    return signs * math.sqrt(2 / in_features)


def kaiming_normal(in_features: int, out_features: int, rng: torch.Generator) -> Tensor:
    """Weights from N(0, 2 / I), shape (I, O).

    Source: the code's "kaiming_normal" (papers.md, B5: the weights of BatchE on MNIST).
    """
    return torch.randn(in_features, out_features, generator=rng) * math.sqrt(2 / in_features)


def kaiming_uniform(in_features: int, out_features: int, rng: torch.Generator) -> Tensor:
    """Weights uniform in [-b, b) with b = sqrt(6 / I), so that their variance too is 2 / I, shape (I, O).

    Source: the code's "kaiming_uniform".
    """
    return _uniform(in_features, out_features, math.sqrt(6 / in_features), rng)


def score_init(in_features: int, out_features: int, rng: torch.Generator) -> Tensor:
    """Scores uniform in [-b, b) with b = 1 / sqrt(I), shape (I, O).

    This is torch's default for linear layers, Kaiming uniform with a = sqrt(5): b = sqrt(6 / ((1 + a^2) I)).
    Their signs are fair coins, so a mask by threshold begins with about half the weights.

    Source: papers.md, B4, for both kinds of masks.
    """
    return _uniform(in_features, out_features, 1 / math.sqrt(in_features), rng)


def _uniform(in_features: int, out_features: int, bound: float, rng: torch.Generator) -> Tensor:
    return nn.init.uniform_(torch.empty(in_features, out_features), -bound, bound, generator=rng)


FROZEN_WEIGHTS: Final[dict[str, Draw]] = {
    "signed-constant": signed_kaiming_constant,
    "kaiming-normal": kaiming_normal,
    "kaiming-uniform": kaiming_uniform,
    "default": score_init,
}
"""How frozen weights are drawn, by the code's names; "default" is torch's own (BatchE RandW, papers.md B5)."""

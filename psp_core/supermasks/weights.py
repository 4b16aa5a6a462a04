"""The frozen random weights that supermasks choose from, and the scores that masks begin with."""

import math
from abc import abstractmethod
from typing import Final

import torch
from torch import Tensor

from psp_core.initial_weights import kaiming_normal, kaiming_uniform, torch_default
from psp_core.parts import Part

# I inputs, O outputs


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


class FrozenWeights(Part, family="frozen_weights"):
    """How the frozen weights are drawn that masks choose from."""

    @staticmethod
    @abstractmethod
    def draw(in_features: int, out_features: int, rng: torch.Generator) -> Tensor:
        """A layer's weights, shape (I, O)."""


class SignedConstant(FrozenWeights, name="signed-constant"):
    """One size and random signs: +c or -c, c = sqrt(2 / I); see `signed_kaiming_constant`."""

    draw = staticmethod(signed_kaiming_constant)


class KaimingNormal(FrozenWeights, name="kaiming-normal"):
    """From a normal distribution, see `kaiming_normal`."""

    draw = staticmethod(kaiming_normal)


class KaimingUniform(FrozenWeights, name="kaiming-uniform"):
    """From a uniform distribution, see `kaiming_uniform`."""

    draw = staticmethod(kaiming_uniform)


class TorchDefault(FrozenWeights, name="default"):
    """As PyTorch draws a layer's weights (BatchE RandW; papers.md, B5): see `torch_default`."""

    draw = staticmethod(torch_default)


FROZEN_WEIGHTS: Final[dict[str, type[FrozenWeights]]] = FrozenWeights.known

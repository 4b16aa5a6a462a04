"""What a network's trained weights and biases begin with, and the distributions that all weights are drawn from."""

import math
from typing import Final, Literal, get_args

import torch
from torch import Tensor, nn

# I inputs (of a convolution C * kh * kw), O outputs, C input channels

InitialWeights = Literal["usual", "pytorch-plain", "pytorch", "kaiming-normal"]
INITIAL_WEIGHTS: Final = get_args(InitialWeights)
"""`usual` gives all contexts the same start: Xavier normal, of convolutions Kaiming normal by fan out; biases 0.

Source: `pytorch-plain` is what PSP's released code does: its baselines and the stem of its ResNet with contexts are
PyTorch's own layers, its heads are Xavier normal. `pytorch` is "default" in SupSup's code, for the networks on CIFAR
that train weights; `kaiming-normal` is what BatchE begins with there on MNIST. SupSup's networks have no biases, ours
have; all tasks' heads begin alike there (papers.md, A7 and B5).
"""


def initial_weights(rule: str, in_features: int, out_features: int, rng: torch.Generator, *, is_plain: bool) -> Tensor:
    """A linear layer's weights, shape (I, O).

    Args:
        rule: one of `INITIAL_WEIGHTS`.
        in_features: I.
        out_features: O.
        rng: what they are drawn from.
        is_plain: whether the layer has no contexts; a head counts as a layer with contexts.
    """
    kind = _kind(rule, is_plain)
    if kind == "pytorch":
        return torch_default(in_features, out_features, rng)
    if kind == "kaiming-normal":
        return kaiming_normal(in_features, out_features, rng)
    return nn.init.xavier_normal_(torch.empty(in_features, out_features), generator=rng)


def initial_kernel(
    rule: str, out_channels: int, filter_shape: tuple[int, int, int], rng: torch.Generator, *, is_plain: bool
) -> Tensor:
    """A convolution's weights for filters of shape (C, kh, kw), shape (I, O); see `initial_weights`."""
    if _kind(rule, is_plain) != "usual":
        return initial_weights(rule, math.prod(filter_shape), out_channels, rng, is_plain=is_plain)
    kernel = torch.empty(out_channels, *filter_shape)
    return nn.init.kaiming_normal_(kernel, mode="fan_out", generator=rng).flatten(1).mT.contiguous()


def initial_bias(rule: str, in_features: int, out_features: int, rng: torch.Generator, *, is_plain: bool) -> Tensor:
    """A linear layer's biases, shape (O,): 0, or uniform in [-b, b) with b = 1 / sqrt(I) as PyTorch draws them."""
    if _kind(rule, is_plain) == "pytorch":
        return torch_default(in_features, out_features, rng)[0]
    return torch.zeros(out_features)


def _kind(rule: str, is_plain: bool) -> str:
    if rule == "pytorch-plain":
        return "pytorch" if is_plain else "usual"
    return rule


def kaiming_normal(in_features: int, out_features: int, rng: torch.Generator) -> Tensor:
    """Weights from N(0, 2 / I), shape (I, O)."""
    return torch.randn(in_features, out_features, generator=rng) * math.sqrt(2 / in_features)


def kaiming_uniform(in_features: int, out_features: int, rng: torch.Generator) -> Tensor:
    """Weights uniform in [-b, b) with b = sqrt(6 / I), so that their variance too is 2 / I, shape (I, O)."""
    return _uniform(in_features, out_features, math.sqrt(6 / in_features), rng)


def torch_default(in_features: int, out_features: int, rng: torch.Generator) -> Tensor:
    """Weights uniform in [-b, b) with b = 1 / sqrt(I), shape (I, O).

    PyTorch's default for linear layers and convolutions, Kaiming uniform with a = sqrt(5): b = sqrt(6 / ((1 + a^2) I)).
    """
    return _uniform(in_features, out_features, 1 / math.sqrt(in_features), rng)


def _uniform(in_features: int, out_features: int, bound: float, rng: torch.Generator) -> Tensor:
    return nn.init.uniform_(torch.empty(in_features, out_features), -bound, bound, generator=rng)

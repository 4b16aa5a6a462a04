"""Optimisers whose members differ: one step for a whole pack, each member with its own lr.

Each equals torch.optim's of the same name for every member (defaults included); those cannot give
the slices of one stacked parameter different learning rates.
"""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import ClassVar, Final

import torch
from torch import Tensor

# E members; every parameter, gradient and state has E as its first dimension

Tensors = dict[str, Tensor]


@dataclass
class Optimiser(ABC):
    """Updates stacked parameters in place.

    Args:
        lr_E: one learning rate for each member, shape (E,).
        momentum_E: one momentum for each member, shape (E,); Adam has none.
    """

    lr_E: Tensor
    momentum_E: Tensor

    name: ClassVar[str]
    has_momentum: ClassVar[bool] = True
    state_names: ClassVar[tuple[str, ...]]

    def __post_init__(self) -> None:
        """Start with no state: it takes the parameters' shapes at the first step."""
        self.num_steps = 0
        self.state: dict[str, Tensors] = {}

    @torch.no_grad()
    def step(self, parameters: Tensors, gradients: Tensors) -> None:
        """Take one step."""
        if not self.state:
            zeros = {key: {name: torch.zeros_like(p) for name, p in parameters.items()} for key in self.state_names}
            self.state.update(zeros)
        self.num_steps += 1
        for name, parameter in parameters.items():
            shape = (-1, *[1] * (parameter.dim() - 1))
            state = [self.state[key][name] for key in self.state_names]
            self.update(parameter, gradients[name], state, self.lr_E.view(shape), self.momentum_E.view(shape))

    @abstractmethod
    def update(self, p: Tensor, g: Tensor, state: list[Tensor], lr: Tensor, momentum: Tensor) -> None:
        """Update one parameter and its state in place."""


class SGD(Optimiser):
    """v = momentum v + g; p -= lr v."""

    name: ClassVar[str] = "sgd"
    state_names: ClassVar[tuple[str, ...]] = ("velocity",)

    def update(self, p: Tensor, g: Tensor, state: list[Tensor], lr: Tensor, momentum: Tensor) -> None:
        """Update one parameter and its state in place."""
        (velocity,) = state
        velocity.mul_(momentum).add_(g)
        p.sub_(velocity * lr)


class RMSprop(Optimiser):
    """s = 0.99 s + 0.01 g^2; v = momentum v + g / (sqrt(s) + 1e-8); p -= lr v."""

    name: ClassVar[str] = "rmsprop"
    state_names: ClassVar[tuple[str, ...]] = ("square", "velocity")

    def update(self, p: Tensor, g: Tensor, state: list[Tensor], lr: Tensor, momentum: Tensor) -> None:
        """Update one parameter and its state in place."""
        square, velocity = state
        square.mul_(0.99).addcmul_(g, g, value=0.01)
        velocity.mul_(momentum).addcdiv_(g, square.sqrt().add_(1e-8))
        p.sub_(velocity * lr)


class Adam(Optimiser):
    """m = 0.9 m + 0.1 g; s = 0.999 s + 0.001 g^2; p -= lr m' / (sqrt(s') + 1e-8), bias-corrected."""

    name: ClassVar[str] = "adam"
    has_momentum: ClassVar[bool] = False
    state_names: ClassVar[tuple[str, ...]] = ("mean", "square")

    def update(self, p: Tensor, g: Tensor, state: list[Tensor], lr: Tensor, momentum: Tensor) -> None:
        """Update one parameter and its state in place."""
        mean, square = state
        mean.mul_(0.9).add_(g, alpha=0.1)
        square.mul_(0.999).addcmul_(g, g, value=0.001)
        denominator = square.sqrt().div_((1 - 0.999**self.num_steps) ** 0.5).add_(1e-8)
        p.sub_(mean / denominator * (lr / (1 - 0.9**self.num_steps)))


OPTIMISERS: Final[dict[str, type[Optimiser]]] = {optimiser.name: optimiser for optimiser in (SGD, RMSprop, Adam)}

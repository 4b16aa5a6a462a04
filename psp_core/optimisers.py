"""Optimisers whose members differ: one step for a whole pack, each member with its own settings.

Each equals torch.optim's of the same name for every member (defaults included); those cannot give
the rows of one tensor different learning rates. The work is bound by memory, so what counts is the
number of passes over it: on CPUs each member takes one pass of PyTorch's fused Adam kernel where
that can be, on CUDA devices `update` is compiled into one kernel for the whole pack.
"""

from abc import abstractmethod
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import replace
from functools import cache
from typing import Any, ClassVar, Final

import torch
from torch import Tensor

from psp_core.devices import compiler_missing
from psp_core.parts import Part, Rule, setting, settings_of
from psp_core.rules import NOT_NEGATIVE, positive

# E members, P parameters of one member

_FOREVER: Final = torch.tensor(1e9)  # steps after which Adam's bias corrections are 1 in any precision


class Optimiser(Part, family="optimiser"):
    """How numbers follow their gradients, as a study chooses it.

    Attributes:
        state_names: what is remembered of each number.
        counts_steps: whether an update depends on how many there were.
    """

    state_names: ClassVar[tuple[str, ...]]
    counts_steps: ClassVar[bool] = True

    lr: float = setting(1e-4, "Learning rate.", rule=positive("; the paper's is 1e-4"), column="lr", per_member=True)
    weight_decay: float = setting(
        0.0,
        "The share of each trained number that is added to its gradient.",
        rule=NOT_NEGATIVE,
        column="weight_decay",
    )

    @property
    def mass(self) -> float:
        """The momentum; 0 where the optimiser has none to choose."""
        return 0.0

    @property
    def decays(self) -> Mapping[str, float]:
        """By what a step changes state whose gradient is zero, by the state's name."""
        return {}

    @classmethod
    def used_state(cls, momenta: Sequence[float]) -> tuple[str, ...]:
        """The state that is kept: no velocity where no member has momentum."""
        return tuple(name for name in cls.state_names if name != "velocity" or any(momenta))

    def can_fuse(self, momenta: Sequence[float]) -> bool:
        """Whether `fused_update` does these members' steps."""
        return False

    def fused_update(self, p: Tensor, g: Tensor, state: list[Tensor], num_steps: Tensor, lr: float) -> None:
        """One member's step in one pass."""
        raise NotImplementedError

    @abstractmethod
    def update(
        self, p: Tensor, g: Tensor, state: list[Tensor], num_steps: Tensor, lr: Tensor, momentum: Tensor
    ) -> None:
        """Every member's step, in place; `lr` and `momentum` are (E, 1)."""


class WithMomentum(Optimiser):
    """An optimiser whose steps have a velocity."""

    momentum: float = setting(
        0.0,
        "The share of its velocity that a step keeps.",
        rule=Rule(lambda value: 0 <= value < 1, "must lie in [0, 1); leave it out for none."),
        column="momentum",
        per_member=True,
    )

    @property
    def mass(self) -> float:
        """The momentum."""
        return self.momentum


class SGD(WithMomentum, name="sgd"):
    """v = momentum v + g; p -= lr v."""

    counts_steps: ClassVar[bool] = False
    state_names: ClassVar[tuple[str, ...]] = ("velocity",)

    def update(
        self, p: Tensor, g: Tensor, state: list[Tensor], num_steps: Tensor, lr: Tensor, momentum: Tensor
    ) -> None:
        """Every member's step, in place."""
        for velocity in state:
            g = velocity.mul_(momentum).add_(g)
        p.addcmul_(g, lr, value=-1)


class RMSprop(WithMomentum, name="rmsprop"):
    """s = 0.99 s + 0.01 g^2; v = momentum v + g / (sqrt(s) + 1e-8); p -= lr v."""

    counts_steps: ClassVar[bool] = False
    state_names: ClassVar[tuple[str, ...]] = ("square", "velocity")

    @property
    def decays(self) -> Mapping[str, float]:
        """The square's, which moves no parameter."""
        return {"square": 0.99}

    def can_fuse(self, momenta: Sequence[float]) -> bool:
        """Without momentum, RMSprop is Adam with beta1 = 0 and no bias correction left."""
        return not any(momenta)

    def fused_update(self, p: Tensor, g: Tensor, state: list[Tensor], num_steps: Tensor, lr: float) -> None:
        """One member's step in one pass; Adam's mean, with beta1 = 0, is the gradient itself."""
        _fused_adam(p, g, g, state[0], _FOREVER, lr, beta1=0.0, beta2=0.99)

    def update(
        self, p: Tensor, g: Tensor, state: list[Tensor], num_steps: Tensor, lr: Tensor, momentum: Tensor
    ) -> None:
        """Every member's step, in place."""
        square, *velocities = state
        square.mul_(0.99).addcmul_(g, g, value=0.01)
        denominator = square.sqrt().add_(1e-8)
        if not velocities:
            p.addcdiv_(g * lr, denominator, value=-1)
        for velocity in velocities:
            velocity.mul_(momentum).addcdiv_(g, denominator)
            p.addcmul_(velocity, lr, value=-1)


class Adam(Optimiser, name="adam"):
    """m = 0.9 m + 0.1 g; s = 0.999 s + 0.001 g^2; p -= lr m' / (sqrt(s') + 1e-8), bias-corrected."""

    state_names: ClassVar[tuple[str, ...]] = ("mean", "square")

    def can_fuse(self, momenta: Sequence[float]) -> bool:
        """Always."""
        return True

    def fused_update(self, p: Tensor, g: Tensor, state: list[Tensor], num_steps: Tensor, lr: float) -> None:
        """One member's step in one pass."""
        mean, square = state
        _fused_adam(p, g, mean, square, num_steps, lr, beta1=0.9, beta2=0.999)

    def update(
        self, p: Tensor, g: Tensor, state: list[Tensor], num_steps: Tensor, lr: Tensor, momentum: Tensor
    ) -> None:
        """Every member's step, in place."""
        mean, square = state
        mean.mul_(0.9).add_(g, alpha=0.1)
        square.mul_(0.999).addcmul_(g, g, value=0.001)
        denominator = square.sqrt().div_((1 - 0.999**num_steps).sqrt()).add_(1e-8)
        p.addcdiv_(mean * (lr / (1 - 0.9**num_steps)), denominator, value=-1)


OPTIMISERS: Final[dict[str, type[Optimiser]]] = Optimiser.known


class Stepper:
    """Updates a pack's parameters in place, as optimisers of one kind do, each member with its own settings.

    Args:
        optimisers: each member's, of one kind and weight decay.
        parameters_EP: the parameters, a row for each member.
        gradients_EP: where their gradients will stand at each step, of whatever type; may be overwritten by it.
        rounded_EP: a copy of the parameters in another type, written in the same pass; None for none.
    """

    def __init__(
        self,
        optimisers: Sequence[Optimiser],
        parameters_EP: Tensor,
        gradients_EP: Tensor,
        rounded_EP: Tensor | None = None,
    ) -> None:
        """Start with a state of zeros."""
        self.kind = _shared(optimisers[0])
        lrs, momenta = [each.lr for each in optimisers], [each.mass for each in optimisers]
        self.parameters = parameters_EP
        self.gradients = gradients_EP
        self.rounded = rounded_EP
        self.weight_decay = optimisers[0].weight_decay
        self._state_names = self.kind.used_state(momenta)
        self.state = [torch.zeros_like(parameters_EP) for _ in self._state_names]
        self._members = [
            (parameters_EP[e], gradients_EP[e], [tensor[e] for tensor in self.state], lr) for e, lr in enumerate(lrs)
        ]
        self.num_steps = parameters_EP.new_zeros(1)  # on the device: a CUDA graph reads it at each replay
        self._lr_E1 = parameters_EP.new_tensor(lrs)[:, None]
        self._momentum_E1 = parameters_EP.new_tensor(momenta)[:, None]
        self._frozen: set[int] = set()
        on_cuda = parameters_EP.is_cuda
        self._fused = not on_cuda and gradients_EP.dtype == parameters_EP.dtype and self.kind.can_fuse(momenta)
        self._whole = _whole_step(self.kind)
        self._compiled = compiled(self.kind) if on_cuda and not compiler_missing() else None

    @torch.no_grad()
    def step(self, lr_factor_1: Tensor | None = None) -> None:
        """Take one step.

        Args:
            lr_factor_1: what this step's learning rates are multiplied by, (1,) on the parameters' device; None for 1.
        """
        if self.kind.counts_steps:
            self.num_steps += 1
        if not self._fused or self._compiled:
            step = self._compiled or self._whole
            step(
                self.parameters, self.gradients, self.state, self.num_steps, self._lr_E1, self._momentum_E1,
                lr_factor_1, self.rounded,
            )  # fmt: skip
            return
        if self.weight_decay:
            self.gradients.add_(self.parameters, alpha=self.weight_decay)
        factor = 1.0 if lr_factor_1 is None else lr_factor_1.item()  # on a CPU, where nobody waits for it
        for e, (p, g, state, lr) in enumerate(self._members):
            if e not in self._frozen:
                self.kind.fused_update(p, g, state, self.num_steps, lr * factor)
        if self.rounded is not None:
            self.rounded.copy_(self.parameters)

    @torch.no_grad()
    def restart(self, members: Collection[int]) -> None:
        """Forget the state of these members, as a new optimiser would have none.

        Steps are counted for all members together: the count begins again where all do.
        """
        if len(members) == len(self._members):
            for tensor in (*self.state, self.num_steps):
                tensor.zero_()
        else:
            for tensor in self.state:
                tensor[list(members)] = 0

    @torch.no_grad()
    def resume(self, state: Sequence[Tensor], num_steps: Tensor, *, idle: int) -> None:
        """Go on with a state that was this optimiser's `idle` steps ago; a frozen member stays frozen."""
        for name, mine, kept in zip(self._state_names, self.state, state, strict=True):
            torch.mul(kept, self.kind.decays.get(name, 1.0) ** idle, out=mine)
            mine[sorted(self._frozen)] = 0
        self.num_steps.copy_(num_steps)

    @torch.no_grad()
    def set_lrs(self, lrs: Sequence[float]) -> None:
        """Step with these learning rates from now on, one for each member; a frozen member stays frozen."""
        self._members = [(p, g, state, lr) for (p, g, state, _), lr in zip(self._members, lrs, strict=True)]
        for e, lr in enumerate(lrs):
            self._lr_E1[e] = 0 if e in self._frozen else lr

    @torch.no_grad()
    def freeze(self, member: int) -> None:
        """Stop a diverged member: its lr, parameters and optimiser state become 0, so that NaNs cannot spread."""
        self._frozen.add(member)
        self._lr_E1[member] = 0
        for tensor in (self.parameters, *self.state):
            tensor[member] = 0

    def member_state(self, member: int) -> dict[str, Any]:
        """What steps have changed of one member, but for its parameters."""
        state = [tensor[member] for tensor in self.state]
        return {"state": state, "num_steps": self.num_steps, "is_frozen": member in self._frozen}

    def load_member_state(self, member: int, state: dict[str, Any]) -> None:
        """Go on from what `member_state` gave; the learner restores the parameters.

        The last of it, the velocity, is there and here where a member of the pack has momentum: if one side has none,
        this member has no momentum.
        """
        for mine, stored in zip(self.state, state["state"], strict=False):
            mine[member].copy_(stored)
        self.num_steps.copy_(state["num_steps"])
        if state["is_frozen"]:
            self.freeze(member)


def _shared(optimiser: Optimiser) -> Optimiser:
    """The optimiser with what its members may differ in at the defaults: they get that with every step."""
    usual = {one.name: one.default for one in settings_of(type(optimiser)) if one.per_member}
    return replace(optimiser, **usual)


@cache
def compiled(optimiser: Optimiser) -> Callable[..., None]:
    """The whole step in one pass over memory, one for every pack of the process: shapes are free.

    Inductor keeps what it compiled in files (`TORCHINDUCTOR_CACHE_DIR`), so that another process finds it there.
    """
    torch._dynamo.config.recompile_limit = max(64, torch._dynamo.config.recompile_limit)  # all kinds count as one here
    return torch.compile(_whole_step(optimiser), dynamic=True)


def _whole_step(optimiser: Optimiser) -> Callable[..., None]:
    """Every member's step: weight decay, the schedule's factor, the update, and the rounded copy."""

    def step(
        p: Tensor, g: Tensor, state: list[Tensor], num_steps: Tensor, lr: Tensor, momentum: Tensor,
        lr_factor_1: Tensor | None, rounded: Tensor | None,
    ) -> None:  # fmt: skip
        g = g.to(p.dtype)
        if optimiser.weight_decay:
            g = g.add(p, alpha=optimiser.weight_decay)
        lr = lr if lr_factor_1 is None else lr * lr_factor_1.to(lr.dtype)
        optimiser.update(p, g, state, num_steps, lr, momentum)
        if rounded is not None:
            rounded.copy_(p)

    return step


def _fused_adam(
    p: Tensor, g: Tensor, mean: Tensor, square: Tensor, num_steps: Tensor, lr: float, *, beta1: float, beta2: float
) -> None:
    """The kernel of torch.optim.Adam(fused=True), without the Python around it, dearer than a small step."""
    torch._fused_adam_(
        [p], [g], [mean], [square], [], [num_steps],
        lr=lr, beta1=beta1, beta2=beta2, weight_decay=0.0, eps=1e-8, amsgrad=False, maximize=False,
    )  # fmt: skip

"""Choosing a context as the stream goes on: by task, mixed with its neighbours, blended, multiplied."""

import math
from abc import abstractmethod
from collections.abc import Callable
from functools import reduce
from typing import ClassVar, Final

import torch
from torch import Tensor

from psp_core.contexts import Context
from psp_core.contexts.complex import Complex, complex_product, unit_phasors
from psp_core.contexts.diagonal import Diagonal
from psp_core.models import SuperposedModel
from psp_core.parts import Part
from psp_core.randomness import generator

# C contexts in use, P positions; ... one context's shape


class Schedule(Part, family="schedule"):
    """Which context is used at a position of the stream, made of the C contexts that were drawn.

    Attributes:
        is_continuous: the context changes at every step, not only where a whole position is reached.
        is_nested: what is used at a position does not depend on C.
        draws: the schedule chooses contexts by chance, so that it cannot be a function of those that are trained.
        num_shared: how many contexts all others are made of; a task then needs no more than its number. 0 where each
            task has its own.
        needs: what the contexts must be: any kind, `diagonal` (one number, or phasor, for each input),
            or `complex`.
    """

    is_continuous: ClassVar[bool] = False
    is_nested: ClassVar[bool] = True
    draws: ClassVar[bool] = False
    num_shared: ClassVar[int] = 0
    needs: ClassVar[str] = "any"

    @abstractmethod
    def contexts(self, contexts: Tensor, positions: Tensor, rng: torch.Generator) -> Tensor:
        """The contexts in use, (P, ...).

        Args:
            contexts: those that were drawn, (C, ...).
            positions: (P,) in [0, C). A position counts contexts: 2.5 is the middle of what belongs to context 2.
            rng: for schedules that draw.
        """

    def check(self, context: Context) -> None:
        """Refuse contexts that this schedule cannot combine.

        Raises:
            ValueError: names what it needs.
        """
        kinds = {"any": object, "diagonal": Diagonal | Complex, "complex": Complex}
        if not isinstance(context, kinds[self.needs]):
            raise ValueError(
                f"schedule={self.name!r} combines {self.needs} contexts; context={context.name!r} is not of that kind: "
                f"use {'complex' if self.needs == 'complex' else 'binary or complex'!r}, or schedule 'task'."
            )


def reschedule(model: SuperposedModel, schedule: Schedule, positions_per_context: int, seed: int) -> None:
    """Put in place of every layer's C contexts those that are used at C * positions_per_context positions.

    Afterwards the network's `task` is the number of a position.
    """
    for layer in model.superposed_layers():
        number = len(layer.contexts) * positions_per_context
        positions = torch.arange(number, device=layer.contexts.device) / positions_per_context
        layer.contexts = schedule.contexts(layer.contexts, positions, generator(seed, "schedule"))
        layer.num_tasks = number


class ByTask(Schedule, name="task"):
    """Each task's own."""

    def contexts(self, contexts: Tensor, positions: Tensor, rng: torch.Generator) -> Tensor:
        """See `Schedule`."""
        return contexts[positions.long()]


class LocalMix(Schedule, name="local-mix"):
    """Phase ( phi(c-1) + phi(c) + phi(c+1) ) / 3, neighbours wrapping at C (paper A, Supp. eq. 12).

    The authors' code wraps at the 50 contexts it has room for, so that the first mixes with one that is never used.
    """

    is_nested: ClassVar[bool] = False
    needs: ClassVar[str] = "complex"

    def contexts(self, contexts: Tensor, positions: Tensor, rng: torch.Generator) -> Tensor:
        """See `Schedule`."""
        mixed = [_phases(contexts[c]) for c in _neighbours(positions, len(contexts))]
        return unit_phasors(torch.stack(mixed).mean(0))


class LocalProduct(Schedule, name="local-product"):
    """c(c-1) c(c) c(c+1), neighbours wrapping at C: the authors' `local_mult`."""

    is_nested: ClassVar[bool] = False
    needs: ClassVar[str] = "diagonal"

    def contexts(self, contexts: Tensor, positions: Tensor, rng: torch.Generator) -> Tensor:
        """See `Schedule`."""
        return reduce(_product_of(contexts), (contexts[c] for c in _neighbours(positions, len(contexts))))


class TempMix(Schedule, name="temp-mix"):
    """Phase sum_i p_i phi(i), with p the softmax of 1 / (c / 1000 + 1e-5) at i = c and of 0 elsewhere.

    Context c alone at first, and further on more and more of the mean of all: of 50 contexts the last still has all but
    1e-7 of its own phase, of 1000 the last has 0.3% of it. The authors' `temp_mix`, which counts c with its fraction.
    """

    is_nested: ClassVar[bool] = False
    needs: ClassVar[str] = "complex"

    def contexts(self, contexts: Tensor, positions: Tensor, rng: torch.Generator) -> Tensor:
        """See `Schedule`."""
        phases, places, others = _phases(contexts), positions.long(), len(contexts) - 1
        temperature = places.double() / 1000 + 1e-5
        own = torch.sigmoid(1 / temperature - math.log(others)) if others else torch.ones_like(temperature)
        of_each = ((1 - own) / max(others, 1))[:, None]
        return unit_phasors((own[:, None] - of_each) * phases[places] + of_each * phases.sum(0))


class Redrawn(Schedule, name="redrawn", formerly="random"):
    """Any of the C, drawn once for each place: some are used for several tasks and some for none.

    Not the authors' `random`, which draws one anew at every step and test batch, so that no task has a context.
    """

    is_nested: ClassVar[bool] = False
    draws: ClassVar[bool] = True

    def contexts(self, contexts: Tensor, positions: Tensor, rng: torch.Generator) -> Tensor:
        """See `Schedule`."""
        chosen = torch.randint(len(contexts), (len(contexts),), generator=rng).to(contexts.device)
        return contexts[chosen[positions.long()]]


class Blend(Schedule, name="blend", formerly="cosine"):
    """cos(pi f / 2) c(c) + sin(pi f / 2) c(c+1) at c + f: from one to the next, the mean square unchanged. Ours."""

    is_continuous: ClassVar[bool] = True
    is_nested: ClassVar[bool] = False
    needs: ClassVar[str] = "diagonal"

    def contexts(self, contexts: Tensor, positions: Tensor, rng: torch.Generator) -> Tensor:
        """See `Schedule`."""
        here = positions.long()
        quarter = (positions - here) * (torch.pi / 2)
        shape = (-1, *[1] * (contexts.dim() - 1))
        following = contexts[(here + 1) % len(contexts)]
        return quarter.cos().view(shape) * contexts[here] + quarter.sin().view(shape) * following


class CosineOfTwo(Schedule, name="cosine-of-two"):
    """Share m of c(0) and 1 - m of c(1), m = (1 + cos(pi c / C)) / 2: the authors' `cosine`. No unit phasors then."""

    is_nested: ClassVar[bool] = False
    num_shared: ClassVar[int] = 2
    needs: ClassVar[str] = "diagonal"

    def contexts(self, contexts: Tensor, positions: Tensor, rng: torch.Generator) -> Tensor:
        """See `Schedule`."""
        share = (1 + (positions.long() * (torch.pi / len(contexts))).cos()) / 2
        share = share.view(-1, *[1] * (contexts.dim() - 1))
        return share * contexts[0] + (1 - share) * contexts[min(1, len(contexts) - 1)]


class CumulativeProduct(Schedule, name="cumulative-product"):
    """c(0) c(1) ... c(c): each context takes the last one further (paper A, Supp. eq. 11).

    The authors' `triangle_multiply`.
    """

    needs: ClassVar[str] = "diagonal"

    def contexts(self, contexts: Tensor, positions: Tensor, rng: torch.Generator) -> Tensor:
        """See `Schedule`."""
        product = _product_of(contexts)
        products = [contexts[0]]
        for context in contexts[1:]:
            products.append(product(products[-1], context))
        return torch.stack(products)[positions.long()]


class OnePowerSchedule(Schedule, name="one-power"):
    """The first context to the power of 1 + position, which need not be whole, as in the released code.

    There powers begin at 0, so that task 0 is measured without a context.
    """

    is_continuous: ClassVar[bool] = True
    num_shared: ClassVar[int] = 1
    needs: ClassVar[str] = "complex"

    def contexts(self, contexts: Tensor, positions: Tensor, rng: torch.Generator) -> Tensor:
        """See `Schedule`."""
        return unit_phasors(torch.einsum("p,...->p...", 1 + positions.double(), _phases(contexts)[0]))


def _phases(contexts: Tensor) -> Tensor:
    """The angles of phasors, in [-pi, pi]: shape (..., 2, I) to (..., I), in double precision."""
    real, imaginary = contexts.double().unbind(-2)
    return torch.atan2(imaginary, real)


def _neighbours(positions: Tensor, num_contexts: int) -> list[Tensor]:
    return [(positions.long() + offset) % num_contexts for offset in (-1, 0, 1)]


def _product_of(contexts: Tensor) -> Callable[[Tensor, Tensor], Tensor]:
    """The product of diagonal contexts: phasors have two dimensions each."""
    return complex_product if contexts.dim() == 3 else torch.mul


SCHEDULES: Final[dict[str, type[Schedule]]] = Schedule.known

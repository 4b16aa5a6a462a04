"""Training all contexts of a network together, where a schedule makes those in use of them."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from psp_core.randomness import generator
from psp_core.schedules import Schedule

# C contexts, P positions; ... one context's shape


@dataclass(frozen=True, kw_only=True)
class TrainedSchedule:
    """What is in use at a position of the stream, as a function of the contexts that are trained.

    Gradients flow through the schedule to every context that the one in use is made of. One optimiser has them all for
    the whole stream, so that those whose gradient is zero do as that optimiser does with zeros: nothing in plain SGD
    and RMSprop, whose mean square decays; they move on with momentum, Adam or weight decay.

    Attributes:
        schedule: which.
        positions_per_context: how many positions, at equal distances, belong to each context.

    Source: the released code of paper A (papers.md, A7), in which all contexts are parameters of one RMSprop. A mix of
    trained phasors is put back on the unit circle here; there `local_mix` has the mean modulus of all contexts.
    """

    schedule: Schedule
    positions_per_context: int

    def position(self, row: int) -> float:
        """Where the stream is at row `row`, counted in contexts."""
        return row / self.positions_per_context

    def used(self, contexts: Tensor, positions_P: Tensor) -> Tensor:
        """The contexts in use at these positions, (P, ...), made of all (C, ...)."""
        return self.schedule.contexts(contexts, positions_P, generator(0, "none is drawn"))

    def used_at(self, contexts: Tensor, rows: Sequence[int]) -> Tensor:
        """The same at whole rows."""
        positions = [self.position(row) for row in rows]
        return self.used(contexts, torch.tensor(positions, device=contexts.device))

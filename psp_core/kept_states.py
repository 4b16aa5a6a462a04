"""What an optimiser knows of contexts and heads that it trains in turn, and that come back."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from psp_core.optimisers import Stepper


@dataclass(frozen=True)
class _Kept:
    state: list[Tensor]
    num_steps: Tensor
    left_at: int


class KeptStates:
    """An optimiser's state for each of K rows of numbers, contexts or heads of a task, one of which it has at a time.

    A row that was never trained begins without a state. One that comes back goes on with its own, as if the optimiser
    had had all rows all the time and the others' gradients had been zero: RMSprop's mean square has decayed by 0.99
    for each step that it was away. In two things it is not so: a row that is away does not move, whatever momentum or
    weight decay there is; and Adam counts each row's steps by themselves and leaves its moments as they were.

    Args:
        optimiser: whose parameters are one row for each member; all members change rows together.

    Source: the released code of paper A has one RMSprop without momentum for weights and all contexts (papers.md, A7).
    """

    def __init__(self, optimiser: Stepper) -> None:
        """Keep nothing yet."""
        self.optimiser = optimiser
        self._rows: dict[int, _Kept] = {}

    def begin(self, row: int, step: int) -> None:
        """Give the optimiser what is kept of a row, which it trains from now on; `step` counts the stream's steps."""
        kept = self._rows.get(row)
        if kept is None:
            self.optimiser.restart(range(len(self.optimiser.parameters)))
        else:
            self.optimiser.resume(kept.state, kept.num_steps, idle=step - kept.left_at)

    def end(self, row: int, step: int) -> None:
        """Keep what the optimiser has of a row, after so many steps of the stream."""
        kept = self._rows.get(row)
        if kept is None:
            tensors = [torch.empty_like(tensor) for tensor in self.optimiser.state]
            kept = _Kept(tensors, torch.empty_like(self.optimiser.num_steps), step)
        for mine, tensor in zip(kept.state, self.optimiser.state, strict=True):
            mine.copy_(tensor)
        kept.num_steps.copy_(self.optimiser.num_steps)
        self._rows[row] = _Kept(kept.state, kept.num_steps, step)

    def member_state(self, member: int) -> dict[int, tuple[list[Tensor], Tensor, int]]:
        """What is kept of one member, by row."""
        return {
            row: ([tensor[member] for tensor in kept.state], kept.num_steps, kept.left_at)
            for row, kept in self._rows.items()
        }

    def load_member_state(self, member: int, state: Mapping[int, Any]) -> None:
        """Go on from what `member_state` gave; of all members it must be of the same step."""
        for row, (tensors, num_steps, left_at) in state.items():
            if row not in self._rows:
                zeros = [torch.zeros_like(tensor) for tensor in self.optimiser.state]
                self._rows[row] = _Kept(zeros, num_steps.clone(), left_at)
            for mine, tensor in zip(self._rows[row].state, tensors, strict=False):  # as `Stepper.load_member_state`
                mine[member].copy_(tensor)

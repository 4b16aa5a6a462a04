"""Drawing what is needed next while what was drawn last is in use."""

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor

import torch
from torch import Tensor

Draw = Callable[[int], list[Tensor]]
"""Draws what belongs to a number, such as a visit's: tensors on the CPU."""


class Ahead:
    """Draws what belongs to 0, 1, 2, ...: a thread draws the next while the last is in use.

    Args:
        draw: called for one number at a time, from a thread; what it holds lives as long as this.
        end: the first number that is not wanted.
    """

    def __init__(self, draw: Draw, end: int) -> None:
        """Draw nothing yet."""
        self._draw, self._end = draw, end
        self._thread = ThreadPoolExecutor(max_workers=1)
        self._next: tuple[int, Future[list[Tensor]]] | None = None

    def __call__(self, number: int) -> list[Tensor]:
        """What belongs to any number; what belongs to the one after the last that was asked for is there soonest."""
        is_next = self._next is not None and self._next[0] == number
        _, drawn = self._next if self._next and is_next else self._begin(number)
        if number + 1 < self._end:
            self._begin(number + 1)
        return drawn.result()

    def _begin(self, number: int) -> tuple[int, Future[list[Tensor]]]:
        self._next = number, self._thread.submit(self._draw, number)
        return self._next


def drawn_for(device: torch.device, draw: Draw, end: int) -> Draw:
    """`draw` as a device is served best.

    A CPU that trains has no core to spare for a thread. A GPU would wait for what is drawn: a thread draws ahead, into
    memory from which the device copies without anybody waiting (`non_blocking=True`).
    """
    if device.type != "cuda":
        return draw
    return Ahead(lambda number: [drawn.pin_memory() for drawn in draw(number)], end)

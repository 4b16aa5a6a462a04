"""What is aimed at: a number, beside what was measured before, and how it is measured."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from time import perf_counter
from typing import Generic, TypeVar

import torch

from benchmarks.timing import Row

T = TypeVar("T")


@dataclass(frozen=True)
class Aim(Generic[T]):
    """One number of a table.

    Attributes:
        what: is measured, with its unit.
        before: what it was; None where it was not measured.
        reach: what it is to be: at most this if it is `falling`, else at least; None where nothing is aimed at.
        measure: finds it, given what all of a table's measures need.
        is_falling: whether less is better.
        note: whatever else a reader should know.
    """

    what: str
    before: float | None
    reach: float | None
    measure: Callable[[T], float]
    is_falling: bool = True
    note: str = ""

    def row(self, given: T) -> Row:
        """The measured row; where measuring raised, the note says what."""
        start, now, note = perf_counter(), float("nan"), self.note
        try:
            now = self.measure(given)
        except Exception as error:
            note = f"failed: {type(error).__name__}: {str(error).strip().partition(chr(10))[0]}"
        return {
            "what": self.what,
            "before": self.before,
            "to reach": self.reach,
            "now": now,
            "reached": self.reached(now),
            "seconds": perf_counter() - start,
            "note": note,
        }

    def reached(self, now: float) -> str:
        """`yes` or `no`; empty where nothing is aimed at or nothing was measured."""
        if self.reach is None or now != now:
            return ""
        return "yes" if (now <= self.reach if self.is_falling else now >= self.reach) else "no"


def rows(aims: Sequence[Aim[T]], given: T, device: torch.device) -> Iterator[Row]:
    """A row for each aim, each measured on its own; whether it is reached is asked of GPUs alone."""
    where = torch.cuda.get_device_name(device) if device.type == "cuda" else device.type
    for aim in aims:
        row = aim.row(given) | {"device": where}
        yield row if device.type == "cuda" else row | {"reached": ""}
        if device.type == "cuda":
            torch.cuda.empty_cache()

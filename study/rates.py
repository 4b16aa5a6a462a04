"""How fast devices are: rates that the planner multiplies what a pack's time is made of by.

A device's rates are a file of data, `NAME.json`: those that `psp tune-planner` has measured on a machine are in the
user's cache, and some ship with the package. The file also has the rows that were measured, so that rates can be fitted
again when what the planner counts has changed.
"""

import contextlib
import json
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from functools import cache
from importlib import resources
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import Any, Final, Self

SHIPPED: Final = {"cpu": "cpu.json", "cuda": "h200.json"}
"""What estimates are made of for a device that was not measured itself."""


@dataclass(frozen=True, kw_only=True)
class Amounts:
    """What time is made of: how often each of these is done; or, as rates, seconds of each.

    Attributes:
        workers: worker processes that begin: the device's context, the data, what is compiled.
        packs: packs that begin: graphs are captured.
        tasks: tasks that begin.
        steps: optimiser steps of a pack, whatever its size.
        drawn: multiplications that draw what tasks have of their own; once for all members of a seed.
        products: multiplications of matrix products, of all members.
        rounded_products: those whose operands are rounded to bfloat16.
        activations: numbers that layers make of samples while training.
        numbers: numbers that optimisers move.
        bound: numbers of weights that a step binds itself.
        answers: numbers that layers make of test samples.
    """

    workers: float = 0.0
    packs: float = 0.0
    tasks: float = 0.0
    steps: float = 0.0
    drawn: float = 0.0
    products: float = 0.0
    rounded_products: float = 0.0
    activations: float = 0.0
    numbers: float = 0.0
    bound: float = 0.0
    answers: float = 0.0

    def values(self) -> list[float]:
        """All of them, in order."""
        return [getattr(self, name) for name in NAMES]


NAMES: Final = tuple(field.name for field in fields(Amounts))
IDLE: Final = ("workers", "packs", "tasks", "steps")
"""During these a device waits: packs that share it spend them at the same time. The rest they do in turns."""


@dataclass(frozen=True, kw_only=True)
class Row:
    """One measurement.

    Attributes:
        settings: the trial's, by their short names.
        members: how many trials train together; their seeds are 0, 1, 2, 0, 1, 2, ...
        seconds: how long it took to do what follows.
        workers: whether a process began with it.
        packs: whether a pack began with it.
        drawn: whether what tasks have of their own was drawn.
        tasks: how many tasks began.
        steps: optimiser steps.
        networks: tasks that were measured, for each member.
        tests: test samples that were measured, for each member.
    """

    settings: Mapping[str, Any]
    members: int
    seconds: float
    workers: int = 0
    packs: int = 0
    drawn: int = 0
    tasks: int = 0
    steps: int = 0
    networks: int = 0
    tests: int = 0


@dataclass(frozen=True, kw_only=True)
class Rates:
    """How fast a device is.

    Attributes:
        device: its name.
        kind: `cpu` or `cuda`.
        date: when it was measured.
        how: how it was measured, in words.
        rates: seconds of each amount.
        rows: what was measured.
    """

    device: str
    kind: str
    date: str
    how: str
    rates: Amounts
    rows: Sequence[Row] = ()

    def seconds(self, amounts: Amounts, sharing: int = 1) -> float:
        """Estimated seconds of these amounts, where so many packs share the device."""
        return sum(
            (1 if name in IDLE else sharing) * rate * amount
            for name, rate, amount in zip(NAMES, self.rates.values(), amounts.values(), strict=True)
        )

    def words(self, device: str) -> str:
        """What estimates for this device are made of."""
        told = f"of {self.device}, {self.date}"
        return told if device == self.device else f"{told}; to measure this {device or 'device'}: psp tune-planner"

    def to_json(self) -> str:
        """The content of its file."""
        content = {**asdict(self), "rows": []}
        rows = [json.dumps({name: value for name, value in asdict(row).items() if value}) for row in self.rows]
        listed = "[\n  " + ",\n  ".join(rows) + "\n ]" if rows else "[]"
        return json.dumps(content, indent=1).removesuffix("[]\n}") + listed + "\n}\n"

    @classmethod
    def from_json(cls, text: str) -> Self:
        """What its file says.

        Raises:
            ValueError: it says something else.
        """
        try:
            content = json.loads(text)
            rates, rows = Amounts(**content.pop("rates")), [Row(**row) for row in content.pop("rows")]
            return cls(**content, rates=rates, rows=rows)
        except (TypeError, KeyError, AttributeError) as error:
            raise ValueError(f"these are no rates of a device: {error}") from None


def rates_of(kind: str, device: str = "") -> Rates:
    """The rates of a device: those that were measured of it, else those that ship with the package.

    Args:
        kind: `cpu` or `cuda`.
        device: its name; empty for what ships with the package.
    """
    if device:
        with contextlib.suppress(OSError, ValueError):  # not measured, or by another version
            own = Rates.from_json(own_file(device).read_text())
            if own.kind == kind:
                return own
    return shipped(kind)


@cache
def shipped(kind: str) -> Rates:
    """The rates that ship with the package for devices of this kind."""
    return Rates.from_json(shipped_file(kind).read_text())


def shipped_file(kind: str) -> Traversable:
    """The file that they are in."""
    return resources.files("study").joinpath("devices", SHIPPED[kind])


def own_file(device: str) -> Path:
    """Where a device's own rates are kept: in the user's cache, by the device's name."""
    folder = Path(os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache"))
    return folder / "psp" / "rates" / f"{re.sub(r'[^a-z0-9]+', '-', device.lower()).strip('-')}.json"

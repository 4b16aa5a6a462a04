"""Settings that a study chooses by itself: `lr: {choice: [0.001, 0.01]}`, `strength: {log_uniform: [0.1, 1000]}`.

And axes whose values are drawn: `lr: {log_uniform: [0.0001, 0.01], draws: 5}`.
"""

import json
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from random import Random
from typing import Any, Final

from psp_core.messages import did_you_mean

KINDS: Final = ("choice", "uniform", "log_uniform")
DIGITS: Final = 3  # of a number that is drawn: a label can say it, and no processor rounds it otherwise
EDGE: Final = 0.05  # of a range, at each end
ATTEMPTS: Final = 20  # for each value of an axis that differs from those before it
QUARTERS: Final = range(4)  # of a range: few draws are spread over it, and more draws leave those as they were

Row = dict[str, Any]
"""Settings by their short names."""


class NamedPart(dict[str, Any]):
    """A part with settings of its own, as a study file has it: `{name: xdg, gated: 0.8}`. Nothing changes it."""

    def __hash__(self) -> int:  # type: ignore[override]
        """Of what it says."""
        return hash(json.dumps(self, sort_keys=True))

    def __str__(self) -> str:
        """`xdg gated=0.8`."""
        name, *others = [str(value) if key == "name" else f"{key}={value}" for key, value in self.items()]
        return " ".join([name, *others])


@dataclass(frozen=True)
class Choice:
    """What a study may choose for one setting.

    Attributes:
        kind: `choice` of listed values; or of numbers between two, `uniform` or `log_uniform`.
        values: those listed, or the lowest and the highest.
    """

    kind: str
    values: tuple[Any, ...]

    @classmethod
    def read(cls, given: Mapping[str, Any], check: Callable[[object], Any]) -> "Choice":
        """The choice that a study file writes as `{kind: values}`.

        Args:
            given: the mapping.
            check: a value as the setting's type; raises ValueError where the setting cannot have it.

        Raises:
            ValueError: another kind, too few values, or values that the setting cannot have.
        """
        if len(given) != 1 or (kind := next(iter(given))) not in KINDS:
            named = ", ".join(map(repr, given)) or "nothing"
            hint = did_you_mean(next(iter(given)), KINDS) if len(given) == 1 else f"give one of {', '.join(KINDS)}."
            raise ValueError(f"a value that the study chooses is written {{choice: [1, 2]}}, not with {named}; {hint}")
        values = given[kind]
        if not isinstance(values, list) or len(values) < 2 or (kind != "choice" and len(values) != 2):
            rule = "a list of at least two values" if kind == "choice" else "a list of the lowest and the highest"
            raise ValueError(f"{kind}: {values!r} must be {rule}.")
        checked = tuple(check(value) for value in values)
        if kind == "choice":
            if len(set(checked)) < len(checked):
                raise ValueError(f"choice: {values!r} lists a value twice; list each once.")
        elif not all(isinstance(value, int | float) and not isinstance(value, bool) for value in checked):
            raise ValueError(f"{kind}: {values!r} must be two numbers; use choice for anything else.")
        elif not checked[0] < checked[1] or (kind == "log_uniform" and checked[0] <= 0):
            above = " above 0" if kind == "log_uniform" else ""
            raise ValueError(f"{kind}: {values!r} must be the lowest{above} and then the highest value.")
        return cls(kind, checked)

    def to_mapping(self) -> dict[str, list[Any]]:
        """As a study file has it."""
        return {self.kind: [dict(value) if isinstance(value, NamedPart) else value for value in self.values]}

    @property
    def is_range(self) -> bool:
        """Whether it has any number between two."""
        return self.kind != "choice"

    def first(self) -> Any:  # noqa: ANN401 - of any setting
        """The first value, which stands for the chosen one until that is known."""
        return self.values[0]

    def drawn(self, column: str, index: int, purpose: str = "tuning") -> Any:  # noqa: ANN401 - of any setting
        """The value that a random search tries as its `index`-th, the same in every variant of every study.

        Of listed values each comes once before any comes again, and so does each quarter of a range.

        Args:
            column: of the setting.
            index: from 0.
            purpose: the same values are drawn for the same purpose.
        """
        parts = QUARTERS if self.is_range else range(len(self.values))
        again, place = divmod(index, len(parts))
        part = Random(f"{purpose} {column} {again}").sample(parts, len(parts))[place]
        if not self.is_range:
            return self.values[part]
        share = (part + Random(f"{purpose} {column} {index}").random()) / len(parts)
        low, high = self.values
        if self.kind == "log_uniform":
            return self.rounded(math.exp(math.log(low) + share * (math.log(high) - math.log(low))))
        return self.rounded(low + share * (high - low))

    def rounded(self, value: Any) -> Any:  # noqa: ANN401 - of any setting
        """A value as a trial gets it: of a range, with three digits or of whole numbers whole, and within the range."""
        if not self.is_range:
            return value
        low, high = self.values
        near = round(value) if isinstance(low, int) else float(f"{value:.{DIGITS}g}")
        return min(max(near, low), high)

    def edge(self, value: Any) -> str | None:  # noqa: ANN401 - of any setting
        """At which end of the numbers a value lies, `lowest` or `highest`; None where it lies within."""
        if any(isinstance(each, bool) or not isinstance(each, int | float) for each in (*self.values, value)):
            return None
        if not self.is_range:
            ends = {min(self.values): "lowest", max(self.values): "highest"}
            return ends.get(value) if len(self.values) > 2 else None
        low, high = (math.log(end) if self.kind == "log_uniform" else end for end in self.values)
        share = ((math.log(value) if self.kind == "log_uniform" else value) - low) / (high - low)
        return "lowest" if share < EDGE else "highest" if share > 1 - EDGE else None


def drawn_values(column: str, given: Mapping[str, Any], check: Callable[[object], Any]) -> list[Any]:
    """The values of an axis that a study file writes as `{log_uniform: [0.0001, 0.01], draws: 5, seed: 0}`.

    They follow from this mapping alone. More draws leave the first ones as they are, so a study can be extended.

    Args:
        column: of the setting.
        given: a distribution (`Choice.read`), the number of draws, and a seed, which is 0 where none is given.
        check: a value as the setting's type; raises ValueError where the setting cannot have it.

    Raises:
        ValueError: the mapping is of another form, or there are not so many values to draw.
    """
    of = {key: values for key, values in given.items() if key not in ("draws", "seed")}
    draws, seed = given.get("draws"), given.get("seed", 0)
    if not isinstance(draws, int) or isinstance(draws, bool) or draws < 1:
        raise ValueError(
            f"draws={draws!r} must be a whole number of at least 1; an axis is a list of values, or drawn: "
            "{log_uniform: [0.0001, 0.01], draws: 5}."
        )
    if not isinstance(seed, int) or isinstance(seed, bool):
        raise ValueError(f"seed={seed!r} must be a whole number, such as 0.")
    choice = Choice.read(of, check)
    values = [choice.drawn(column, index, f"axis, seed {seed},") for index in range(ATTEMPTS * draws)]
    distinct = list(dict.fromkeys(values))[:draws]
    if len(distinct) < draws:
        raise ValueError(f"draws={draws} of {choice.to_mapping()!r} finds only {len(distinct)} values; draw fewer.")
    return distinct


def choices_of(row: Mapping[str, Any]) -> dict[str, Choice]:
    """The settings of a row that are chosen by the study."""
    return {column: value for column, value in row.items() if isinstance(value, Choice)}


def settled(row: Mapping[str, Any]) -> Row:
    """The row with a first value in place of each choice."""
    return {column: value.first() if isinstance(value, Choice) else value for column, value in row.items()}


def written(row: Mapping[str, Any]) -> Row:
    """The row as a study file has it."""
    return {column: value.to_mapping() if isinstance(value, Choice) else value for column, value in row.items()}

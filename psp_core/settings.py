"""What a setting may be: its type, its choices, its bounds, and what the user is told otherwise."""

import contextlib
import types
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, get_args

from psp_core.messages import did_you_mean, lookup


@dataclass(frozen=True, kw_only=True)
class Settings:
    """The settings of one kind of trial.

    Attributes:
        kinds: each setting's type: int, float, bool, str, or one of them or None.
        choices: names that a text may be.
        least: smallest values of whole numbers.
        rules: further ones: what must hold, and how to say so after `name=value`.
        renamed: of a setting's choices, what some were called before, and are called now. Either may be given.
        listed_in: a command that lists the settings, each with its meaning.
    """

    kinds: Mapping[str, Any]
    choices: Mapping[str, Mapping[str, object]]
    least: Mapping[str, int]
    rules: Mapping[str, tuple[Callable[[Any], bool], str]] = field(default_factory=dict)
    renamed: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    listed_in: str = ""

    def check(self, key: str, value: Any) -> Any:  # noqa: ANN401  (a value from a YAML file)
        """The value as the setting's type, or an error that names key, value, rule and remedy.

        Numbers may come as text (YAML reads 1e-4 as a string).

        Raises:
            ValueError: unknown key, wrong type, or out of range.
        """
        if key not in self.kinds:
            raise ValueError(f"{key!r} is not a setting; {did_you_mean(key, self.kinds, self.listed_in)}")
        kind = self.kinds[key]
        if isinstance(kind, types.UnionType):
            if value is None:
                return None
            kind = get_args(kind)[0]
        value = self._converted(key, kind, value)
        if key in self.renamed:
            value = self.renamed[key].get(value, value)
        if key in self.choices:
            lookup(key, value, self.choices[key])
        if key in self.least and value < self.least[key]:
            raise ValueError(f"{key}={value} must be at least {self.least[key]}; give a larger whole number.")
        if key in self.least and value >= 2**31:
            raise ValueError(
                f"{key}={value} must be below 2**31, which is how it is stored; give a smaller whole number."
            )
        holds, otherwise = self.rules.get(key, (None, ""))
        if holds and not holds(value):
            raise ValueError(f"{key}={value} {otherwise}")
        return value

    def first_name(self, key: str, value: Any) -> Any:  # noqa: ANN401
        """What a choice was called when it was new: the name that trials' ids are made of."""
        before = {now: then for then, now in self.renamed.get(key, {}).items()}
        return before.get(value, value) if before else value

    def _converted(self, key: str, kind: Any, value: object) -> Any:  # noqa: ANN401
        if kind is int:
            return _to_int(key, value)
        if kind is float:
            return _to_float(key, value)
        if kind is bool:
            return _to_bool(key, value)
        if kind is str:
            return self._to_str(key, value)
        return value  # set by the program itself

    def _to_str(self, key: str, value: object) -> str:
        if not isinstance(value, str):
            hint = " (an empty value means no value: quote it if you meant a name)" if value is None else ""
            raise ValueError(f"{key}={value!r} must be a name{hint}; {did_you_mean(value, self.choices[key])}")
        return value


def refuse_chosen(config: object, names: Iterable[str], elsewhere: str, remedy: str) -> None:
    """Refuse settings that are not at their defaults where they mean nothing.

    Args:
        config: a frozen dataclass whose defaults are its class's attributes.
        names: the settings.
        elsewhere: what they do not apply to, such as `method='psp'`.
        remedy: what to do instead of leaving them out.

    Raises:
        ValueError: one is not; the message names it, its value, the rule and the remedy.
    """
    for name in names:
        if getattr(config, name) != getattr(type(config), name):
            raise ValueError(
                f"{name}={getattr(config, name)!r} does not apply to {elsewhere}; leave it out, or {remedy}."
            )


def _to_int(key: str, value: object) -> int:
    number = value
    if isinstance(number, str):
        with contextlib.suppress(ValueError):
            number = int(number) if number.strip("+-0123456789") == "" else float(number)
    if isinstance(number, float) and number.is_integer():  # 1e2 is 100, written otherwise
        number = int(number)
    if not isinstance(number, int) or isinstance(number, bool):
        raise ValueError(f"{key}={value!r} must be a whole number, such as 8 or 1e2.")
    return number


def _to_float(key: str, value: object) -> float:
    if isinstance(value, int | float | str) and not isinstance(value, bool):
        with contextlib.suppress(ValueError, OverflowError):
            return float(value)
    raise ValueError(f"{key}={value!r} must be a number, such as 0.001.")


def _to_bool(key: str, value: object) -> bool:
    if not isinstance(value, bool):
        raise ValueError(f"{key}={value!r} must be true or false, in these words and without quotes.")
    return value

"""Values from study files, the command line and Python, as the types that settings have."""

import contextlib
import types
from typing import Any, Literal, get_args, get_origin

from psp_core.messages import lookup

LARGEST = 2**31
"""Whole numbers are stored in 32 bits."""


def converted(name: str, kind: Any, value: object) -> Any:  # noqa: ANN401 - the type is data here
    """A value as a setting's type.

    Numbers may come as text: YAML reads 1e-4 as a text.

    Args:
        name: of the setting, for the message.
        kind: int, float, bool, str, a Literal of texts, a tuple of whole numbers, or one of these or None.
        value: what was given.

    Raises:
        ValueError: the value is not of that type; the message names setting, value, rule and remedy.
    """
    if isinstance(kind, types.UnionType):
        kind = get_args(kind)[0]
    if get_origin(kind) is Literal:
        return _choice(name, kind, value)
    if get_origin(kind) is tuple:
        assert isinstance(value, tuple | list)
        return tuple(sorted({_to_int(name, number) for number in value}))
    return {int: _to_int, float: _to_float, bool: _to_bool, str: _to_str}[kind](name, value)


def _choice(name: str, kind: Any, value: object) -> str:  # noqa: ANN401
    choices = dict.fromkeys(get_args(kind))
    if not isinstance(value, str):
        hint = " (an empty value means no value: quote it if you meant a name)" if value is None else ""
        raise ValueError(f"{name}={value!r} must be a name{hint}; Known: {', '.join(choices)}.")
    lookup(name, value, choices)
    return value


def _to_int(name: str, value: object) -> int:
    number = value
    if isinstance(number, str):
        with contextlib.suppress(ValueError):
            number = int(number) if number.strip("+-0123456789") == "" else float(number)
    if isinstance(number, float) and number.is_integer():  # 1e2 is 100, written otherwise
        number = int(number)
    if not isinstance(number, int) or isinstance(number, bool):
        raise ValueError(f"{name}={value!r} must be a whole number, such as 8 or 1e2.")
    if number >= LARGEST:
        raise ValueError(
            f"{name}={number} must be below 2**31, which is how it is stored; give a smaller whole number."
        )
    return number


def _to_float(name: str, value: object) -> float:
    if isinstance(value, int | float | str) and not isinstance(value, bool):
        with contextlib.suppress(ValueError, OverflowError):
            return float(value)
    raise ValueError(f"{name}={value!r} must be a number, such as 0.001.")


def _to_bool(name: str, value: object) -> bool:
    if not isinstance(value, bool):
        raise ValueError(f"{name}={value!r} must be true or false, in these words and without quotes.")
    return value


def _to_str(name: str, value: object) -> str:
    if not isinstance(value, str):
        raise ValueError(f"{name}={value!r} must be a text.")
    return value

"""What messages to users are made of: the nearest known name, an error on one line."""

import difflib
from collections.abc import Iterable, Mapping
from typing import TypeVar

T = TypeVar("T")


def did_you_mean(name: object, known: Iterable[str], listed_in: str = "") -> str:
    """The nearest of the known names where one is near, and the known names.

    Args:
        name: what was given.
        known: what could have been given.
        listed_in: where a reader finds the known names, for a list too long for a message.
    """
    names = list(known)
    near = difflib.get_close_matches(str(name), names, n=3 if listed_in else 1)
    question = f"did you mean {' or '.join(map(repr, near))}? " if near else ""
    return question + (f"All {len(names)} are listed by: {listed_in}" if listed_in else f"Known: {', '.join(names)}.")


def lookup(kind: str, name: str, registry: Mapping[str, T]) -> T:
    """The registry's entry of that name.

    Raises:
        ValueError: there is none; the message lists all names and the nearest.
    """
    if name not in registry:
        raise ValueError(f"{kind}={name!r} is not known; {did_you_mean(name, registry)}")
    return registry[name]


def one_line(error: object) -> str:
    """An error's message without its line breaks."""
    return " ".join(str(error).split())


def plural(count: int, noun: str) -> str:
    """A count and what is counted, such as `1 trial` or `1,200 trials`."""
    return f"{count:,} {noun}" if count == 1 else f"{count:,} {noun}s"

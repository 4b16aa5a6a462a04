"""What messages to users are made of: the nearest known name, an error on one line."""

import difflib
from collections.abc import Iterable, Mapping
from typing import TypeVar

T = TypeVar("T")


def did_you_mean(name: object, known: Iterable[str]) -> str:
    """The known names, and the nearest of them first where one is near."""
    names = list(known)
    near = difflib.get_close_matches(str(name), names, n=1)
    question = f"did you mean {near[0]!r}? " if near else ""
    return f"{question}Known: {', '.join(names)}."


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

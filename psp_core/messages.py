"""Parts of messages to users: the nearest known name, an error on one line, counts."""

import difflib
from collections.abc import Iterable, Mapping
from typing import TypeVar

T = TypeVar("T")


def did_you_mean(name: object, known: Iterable[str], listed_in: str = "") -> str:
    """The nearest known name, if any is near, and the known names.

    Args:
        name: the name that was given.
        known: the names that may be given.
        listed_in: where a reader finds the known names, if they are too many for a message.
    """
    names = list(known)
    near = difflib.get_close_matches(str(name), names, n=3 if listed_in else 1)
    question = f"did you mean {' or '.join(map(repr, near))}? " if near else ""
    return question + (f"All {len(names)} are listed by: {listed_in}" if listed_in else f"Known: {', '.join(names)}.")


def lookup(kind: str, name: str, registry: Mapping[str, T]) -> T:
    """The registry's entry of that name.

    Raises:
        ValueError: there is no entry; the message lists the nearest name and all names.
    """
    if name not in registry:
        raise ValueError(f"{kind}={name!r} is not known; {did_you_mean(name, registry)}")
    return registry[name]


def one_line(error: object) -> str:
    """An error's message without its line breaks."""
    return " ".join(str(error).split())


def plural(count: int, noun: str) -> str:
    """A count with its noun, such as `1 trial` or `1,200 trials`."""
    return f"{count:,} {noun}" if count == 1 else f"{count:,} {noun}s"

"""Words that several findings have."""

from collections.abc import Sequence
from typing import Final

from analysis.roles import text_of

MOST_NAMED: Final = 6
"""A sentence has so many of a kind, and then how many more there are."""


def named(curve: object) -> str:
    """A curve's name in a sentence. Names have commas, so they stand in marks, which the page draws as colours."""
    return f"`{text_of(curve)}`"


def listed(names: Sequence[str]) -> str:
    """`a, b and c`."""
    return " and ".join(filter(None, [", ".join(names[:-1]), names[-1]]))


def shortened(told: Sequence[str]) -> list[str]:
    """The first MOST_NAMED, and how many more there are."""
    more = len(told) - MOST_NAMED
    return [*told[:MOST_NAMED], f"and {more} more"] if more > 0 else list(told)


def brackets(lines: Sequence[str]) -> str:
    """What brackets are, where there are any."""
    return " Brackets: 95% intervals." if any("[" in line for line in lines) else ""


def capital(text: str) -> str:
    """The text with a capital letter at its beginning."""
    return text[:1].upper() + text[1:]

"""The widest network for which there is room."""

from collections.abc import Callable
from typing import Final, TypeVar

T = TypeVar("T")

MOST: Final = 2**20
"""Wider networks are not looked for."""


class NoRoomError(ValueError):
    """A network is larger than it may be; other settings of it are fine."""


def widest(build: Callable[[int], T]) -> T:
    """What `build` makes of the largest width for which it has room.

    Some widths may be impossible whatever the room, as some contexts need powers of two and some as many inputs as
    there are tasks. The search doubles the width until one is too large, and halves the interval then. An impossible
    width counts as too small until a possible one is found, and as too large from then on.

    Args:
        build: raises `NoRoomError` for widths that are too large, and another ValueError for impossible ones. What it
            needs room for grows with the width.

    Raises:
        NoRoomError: the narrowest possible network is too large.
        ValueError: no width is possible.
    """
    found: tuple[int, T] | None = None
    refused: ValueError | None = None
    low, high, width = 0, MOST + 1, 1
    while high - low > 1:
        try:
            found = width, build(width)
            low = width
        except NoRoomError as error:
            high, refused = width, error
        except ValueError as error:
            if found and high <= MOST:
                high = width
            else:
                low = width
            refused = refused if isinstance(refused, NoRoomError) else error
        width = min(2 * low, MOST) if high > MOST else (low + high) // 2
    if found:
        return found[1]
    assert refused
    raise refused

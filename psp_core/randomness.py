"""Named random generators: what one of them draws never depends on another."""

import hashlib
from collections.abc import Sequence
from typing import TypeVar

import torch

T = TypeVar("T")


def generator(seed: int, purpose: str, *index: int) -> torch.Generator:
    """A separate CPU generator for each (seed, purpose, index).

    The generator's 63-bit seed is a hash of all three, so neighbouring seeds or indices share nothing. The generator is
    always on the CPU, so its numbers do not depend on the device that trains.
    """
    name = "/".join(map(str, (seed, purpose, *index)))
    digest = hashlib.blake2b(name.encode(), digest_size=8).digest()
    return torch.Generator().manual_seed(int.from_bytes(digest, "big") >> 1)


def different(given: Sequence[T]) -> tuple[list[T], list[int]]:
    """The different ones of these, such as seeds, and the place of each given one among them.

    `different([4, 2, 4])` is `([4, 2], [0, 1, 0])`.
    """
    found = list(dict.fromkeys(given))
    return found, [found.index(one) for one in given]

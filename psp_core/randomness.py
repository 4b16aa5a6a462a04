"""Named random generators: what one of them draws never depends on another."""

import hashlib
from collections.abc import Sequence

import torch


def generator(seed: int, purpose: str, *index: int) -> torch.Generator:
    """A separate CPU generator for each (seed, purpose, index).

    The generator's 63-bit seed is a hash of all three, so neighbouring seeds or indices share nothing. The generator is
    always on the CPU, so its numbers do not depend on the device that trains.
    """
    name = "/".join(map(str, (seed, purpose, *index)))
    digest = hashlib.blake2b(name.encode(), digest_size=8).digest()
    return torch.Generator().manual_seed(int.from_bytes(digest, "big") >> 1)


def different(numbers: Sequence[int]) -> tuple[list[int], list[int]]:
    """The different ones of these numbers, such as seeds, and the place of each given one among them.

    `different([4, 2, 4])` is `([4, 2], [0, 1, 0])`.
    """
    found = list(dict.fromkeys(numbers))
    return found, [found.index(number) for number in numbers]

"""Random generators that have names, so that one thing's randomness never depends on another's."""

import hashlib

import torch


def generator(seed: int, purpose: str, *index: int) -> torch.Generator:
    """A CPU generator of its own for each (seed, purpose, index).

    The 63-bit seed is a hash of all three, so that neighbouring seeds or indices share nothing.
    Always on the CPU: what is drawn does not depend on the device that trains.
    """
    name = "/".join(map(str, (seed, purpose, *index)))
    digest = hashlib.blake2b(name.encode(), digest_size=8).digest()
    return torch.Generator().manual_seed(int.from_bytes(digest, "big") >> 1)

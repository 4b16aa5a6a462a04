"""Drawing the numbers of several seeds at the same time."""

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from typing import TypeVar

import torch

T = TypeVar("T")


def drawn_together(draws: Sequence[Callable[[], T]], device: torch.device) -> list[T]:
    """What each function gives; each has generators of its own, so that their order does not matter.

    For a GPU they run in as many threads as this process has cores to work with (`torch.get_num_threads`), each on a
    CUDA stream of its own: random numbers come from the CPU, and a decomposition alone leaves most of a GPU idle. For a
    CPU they run one after another, as its operations take all cores already.
    """
    threads = min(len(draws), torch.get_num_threads())
    if device.type != "cuda" or threads < 2:
        return [draw() for draw in draws]

    def on_own_stream(place: int) -> T:
        with torch.cuda.stream(_streams(device, threads)[place % threads]):
            return draws[place]()

    _streams(device, threads)
    torch.cuda.synchronize(device)  # what was made before may be read on any stream; and so may what is drawn, after
    with ThreadPoolExecutor(threads) as pool:
        drawn = list(pool.map(on_own_stream, range(len(draws))))
    torch.cuda.synchronize(device)
    return drawn


@cache
def _streams(device: torch.device, number: int) -> list[torch.cuda.Stream]:
    """The same for all packs of the process, as memory that was freed is kept for its stream."""
    torch.linalg.qr(torch.ones(1, 1, device=device))  # loads a library, which two threads must not do at once
    return [torch.cuda.Stream(device) for _ in range(number)]  # type: ignore[no-untyped-call]

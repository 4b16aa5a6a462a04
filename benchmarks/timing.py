"""Times functions against each other on a noisy machine."""

import statistics
import time
from collections.abc import Callable, Mapping

import torch

Row = dict[str, object]


def interleaved(
    functions: Mapping[str, Callable[[], object]], *, repeats: int = 5, seconds: float = 0.1, quick: bool = False
) -> dict[str, float]:
    """Median seconds of one call of each function.

    The functions take turns, so that a slow while of the machine slows all of them. In each turn a function is called
    often enough to fill `seconds`; where it must be `quick`, there is one turn, of one call.
    """
    if quick:
        repeats, seconds = 1, 0
    calls = {}
    for name, function in functions.items():
        function()  # one-time work is done here
        calls[name] = max(1, round(seconds / max(_timed(function, 1), 1e-9)))
    times: dict[str, list[float]] = {name: [] for name in functions}
    for _ in range(repeats):
        for name, function in functions.items():
            times[name].append(_timed(function, calls[name]))
    return {name: statistics.median(measured) for name, measured in times.items()}


def _timed(function: Callable[[], object], calls: int) -> float:
    synchronise()
    start = time.perf_counter()
    for _ in range(calls):
        function()
    synchronise()
    return (time.perf_counter() - start) / calls


def synchronise() -> None:
    """Wait for the device, where there is one."""
    if torch.cuda.is_available():
        torch.cuda.synchronize()

"""(j) How many random masks does a Hopfield network hold? Recalled from probes, for each unit, beside theory."""

from collections.abc import Iterator

import torch

from benchmarks.timing import Row
from psp_core.randomness import generator
from psp_core.supermasks import RULES
from psp_core.supermasks.hopfield_capacity import THEORY, capacity, measure_loads


def measure(device: torch.device, *, quick: bool) -> Iterator[Row]:
    """Masks per unit of which 95% and 50% are recalled, by probes with a share of their entries flipped."""
    for rule in RULES:
        for size in (128, 512, 2048)[: 2 if quick else None]:
            numbers = [size * percent // 100 for percent in range(5, 51, 5 if quick else 1)]
            for flipped in (0.0, 0.1, 0.2):
                loads = list(measure_loads(rule, size, numbers, flipped=flipped, rng=generator(0, "bench", size)))
                yield {
                    "rule": rule,
                    "units": size,
                    "turned": flipped,
                    "95% recalled": capacity(loads, 0.95) / size,
                    "50% recalled": capacity(loads, 0.5) / size,
                    "theory": THEORY[rule],
                }

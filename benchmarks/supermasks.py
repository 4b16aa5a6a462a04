"""(i) Which of K tasks is it? One-shot inference at LeNet 300-100 with random masks."""

from collections.abc import Iterator
from functools import partial

import torch

from benchmarks.timing import Row, interleaved
from psp_core.randomness import generator
from psp_core.supermasks import MaskTable, Superposition, entropy, one_shot, signed_kaiming_constant, threshold_mask

SHAPES = ((784, 300), (300, 100), (100, 110))


def measure(device: torch.device, *, quick: bool) -> Iterator[Row]:
    """Milliseconds of one question of one image, and of each of 32 questions that are asked together."""
    weights = [signed_kaiming_constant(*shape, generator(0, "bench", *shape)).to(device) for shape in SHAPES]
    x = torch.randn(32, 1, 784, generator=generator(1, "bench")).to(device)
    for num_tasks in (10, 100, 1000, 2500)[: 2 if quick else None]:
        table = MaskTable(SHAPES, num_tasks, device)
        for _ in range(num_tasks):
            table.append([threshold_mask(torch.randn(shape, device=device)) for shape in SHAPES])
        network = Superposition(weights, table, entropy, num_real=10)
        alpha = torch.full((num_tasks,), 1 / num_tasks, device=device)
        seconds = interleaved(
            {
                "alone": partial(one_shot, network, x[0]),
                "together": partial(one_shot, network, x),
                "combination": partial(table.combination, alpha),
            },
            quick=quick,
        )
        yield {
            "tasks": num_tasks,
            "bytes": table.num_bytes,
            "alone_ms": 1e3 * seconds["alone"],
            "each_of_32_ms": 1e3 * seconds["together"] / len(x),
            "combination_ms": 1e3 * seconds["combination"],
        }

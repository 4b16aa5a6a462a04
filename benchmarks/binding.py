"""(h) What binding a batch costs, context by context."""

from collections.abc import Iterator
from functools import partial

import torch

from benchmarks.timing import Row, interleaved
from psp_core.contexts import CONTEXTS, get_context
from psp_core.randomness import generator


def measure(device: torch.device, *, quick: bool) -> Iterator[Row]:
    """Microseconds of binding 128 inputs, beside the product with 256 columns that follows; both take turns."""
    for size in (256, 784, 2048)[: 1 if quick else None]:
        weights = torch.randn(size, 256, generator=generator(0, "bench")).to(device)
        x = torch.randn(128, size, generator=generator(1, "bench")).to(device)
        functions = {"product": lambda x=x, weights=weights: x @ weights}
        contexts = {name: get_context(name) for name in CONTEXTS}
        for name, context in contexts.items():
            inputs = torch.stack([x, x], dim=-2) if context.is_complex else x
            (own,) = context.sample(1, size, generator(2, "bench"), device)
            functions[name] = partial(context.bind, inputs, own)
        seconds = interleaved(functions, repeats=7, seconds=0.02, quick=quick)
        for name, context in contexts.items():
            yield {
                "inputs": size,
                "context": name,
                "bytes_per_task": context.bytes_per_task(size),
                "us": 1e6 * seconds[name],
                "over_product": seconds[name] / seconds["product"],
            }

"""The floor of a training step: its matrix products, and on a GPU the bytes that its optimiser moves."""

from collections.abc import Callable

import torch
from torch import Tensor

from psp_core.contexts import Context
from psp_core.training import PackTraining
from psp_core.trial import Trial

# E members, B batch, I inputs, O outputs

Shape = tuple[int, int, int]  # rows, inner size, columns of one product


def step_shapes(trial: Trial) -> list[Shape]:
    """Every product of one member's step: forward, weight gradients, input gradients and binding of contexts.

    A complex layer counts as real products. A hidden layer multiplies both parts of the batch by both parts of the
    weights; in the first and the last layer one side is real.
    """
    context, batch = trial.of(Context), trial.batch_size
    pairs = [(layer.inputs, layer.outputs) for layer in trial.method.layers(trial)]
    shapes: list[Shape] = []
    for index, (i, o) in enumerate(pairs):
        if context.is_complex and 0 < index < len(pairs) - 1:
            shapes += [(2 * batch, i, 2 * o), (i, 2 * batch, 2 * o), (2 * batch, 2 * o, i)]
        elif context.is_complex and index:
            shapes += 2 * [(batch, i, o), (i, batch, o), (batch, o, i)]
        else:
            o = 2 * o if context.is_complex else o
            shapes += [(batch, i, o), (i, batch, o), *([(batch, o, i)] if index else [])]
        bound = [(batch * rows, inner, columns) for rows, inner, columns in context.products(i)]
        shapes += (2 if index else 1) * bound
    return shapes


def floor(trial: Trial, num_members: int, device: torch.device) -> Callable[[], None]:
    """A function that computes the bare products of a pack's step, into memory that is already allocated."""
    products = [
        (torch.randn(num_members, rows, inner, device=device), torch.randn(num_members, inner, columns, device=device))
        for rows, inner, columns in step_shapes(trial)
    ]
    outputs = [torch.empty(num_members, a.shape[1], b.shape[2], device=device) for a, b in products]

    def run() -> None:
        for (a, b), out in zip(products, outputs, strict=True):
            torch.bmm(a, b, out=out)

    return run


def optimiser_pass(training: PackTraining) -> Callable[[], Tensor]:
    """A copy of as many bytes as one step's optimisers move: gradients are read, weights and state read and written."""
    numbers = sum((3 + 2 * len(each.state)) * each.parameters.numel() for each in training.optimisers)
    source = torch.zeros(-(-numbers // 2), device=training.device)
    target = torch.empty_like(source)
    return lambda: target.copy_(source)

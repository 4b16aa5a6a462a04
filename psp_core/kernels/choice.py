"""Which way an operation takes, and how a Triton kernel is launched where it takes that one."""

import importlib
from collections.abc import Callable
from functools import cache, cached_property
from typing import Any, Final

import torch

from psp_core.devices import compiler_missing

ALSO_ON: Final[set[str]] = set()
"""Types of devices that have kernels beside CUDA: a test's CPU, where Triton interprets them."""


def has_kernels(device: torch.device) -> bool:
    """Whether operations on this device run as Triton kernels, and not as PyTorch's operations one after another."""
    return device.type in ALSO_ON or (device.type == "cuda" and _can_compile())


@cache
def _can_compile() -> bool:
    return compiler_missing() is None


class Kernel:
    """A function in Triton's language. Triton is imported when the kernel is launched for the first time.

    In the function's module `tl` must stand for `triton.language`, for type checkers alone.
    """

    def __init__(self, function: Callable[..., None]) -> None:
        """Keep the function, a decorated one."""
        self.function = function

    @cached_property
    def jitted(self) -> Any:  # noqa: ANN401 - Triton has no types
        """The function as Triton compiles it; or interprets it, with TRITON_INTERPRET=1."""
        self.function.__globals__["tl"] = importlib.import_module("triton.language")
        return importlib.import_module("triton").jit(self.function)

    def launch(self, grid: tuple[int, ...], *arguments: object, num_warps: int = 4, **constants: object) -> None:
        """Run it once for each place of the grid.

        Args:
            grid: how many programs, in up to three dimensions.
            arguments: tensors, None, and whole numbers.
            num_warps: 32 threads each, that share a program.
            constants: the function's `tl.constexpr`.
        """
        self.jitted[grid](*arguments, num_warps=num_warps, **constants)


def blocks(size: int, block: int) -> int:
    """How many blocks cover so many numbers."""
    return -(-size // block)


def power_of_two(size: int, *, least: int, most: int) -> int:
    """The smallest power of two that is not below `size`, but within these bounds."""
    return min(most, max(least, 1 << (size - 1).bit_length()))

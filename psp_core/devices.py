"""What differs between devices: precision, denormals, CUDA graphs, compilers, memory."""

import contextlib
import ctypes
import importlib.util
import os
import shutil
import sysconfig
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import Final

import torch

PRECISIONS: Final = {"tf32": torch.float32, "float32": torch.float32, "bfloat16": torch.bfloat16}
"""What matrix products take their operands in. TF32 exists on CUDA devices only; CPUs take float32."""

_EAGER_STEPS = 3  # before a graph is captured: libraries allocate and tune on their first calls


def compiler_missing() -> str | None:
    """Why nothing can be compiled for a CUDA device here, or None where it can: what Triton looks for."""
    if importlib.util.find_spec("triton") is None:
        return "Triton is not installed"
    if not (os.environ.get("CC") or shutil.which("gcc") or shutil.which("clang")):
        return "there is no C compiler"
    if not Path(sysconfig.get_paths()["include"], "Python.h").is_file():
        return "Python's header files are not installed"
    return None


@contextlib.contextmanager
def arithmetic(precision: str, device: torch.device) -> Iterator[None]:
    """Compute as a trial's `precision` says, and as fast as the processor can.

    On CUDA devices, float32 products and convolutions run in TF32 or not, and cuDNN tries its algorithms for each new
    shape of a convolution and takes the fastest: another one, perhaps, in another process, and some add in an order
    that no two runs share. So there convolutional networks are trained again, or resumed, up to rounding. On CPUs,
    numbers below 1e-38 become zero:
    a weight whose gradient stays zero has a running mean square that shrinks to there, and such
    numbers make each operation on them a hundred times slower. What was set before comes back.
    Freed memory stays with the process, see below.
    """
    if device.type == "cuda":
        matmul, cudnn = torch.backends.cuda.matmul, torch.backends.cudnn
        before = torch.get_float32_matmul_precision(), matmul.allow_bf16_reduced_precision_reduction
        convolutions_before = cudnn.allow_tf32, cudnn.benchmark
        torch.set_float32_matmul_precision("high" if precision == "tf32" else "highest")
        cudnn.allow_tf32, cudnn.benchmark = precision == "tf32", True
        matmul.allow_bf16_reduced_precision_reduction = False
        try:
            yield
        finally:
            torch.set_float32_matmul_precision(before[0])
            matmul.allow_bf16_reduced_precision_reduction = before[1]
            cudnn.allow_tf32, cudnn.benchmark = convolutions_before
        return
    _keep_freed_memory()
    flushing = bool(torch.full((1,), 1e-38).mul_(1e-3) == 0)
    torch.set_flush_denormal(True)
    try:
        yield
    finally:
        torch.set_flush_denormal(flushing)


@contextlib.contextmanager
def cpu_threads(number: int) -> Iterator[None]:
    """Let PyTorch work with so many threads of the CPU; what was set before comes back.

    Raises:
        ValueError: fewer than one.
    """
    if number < 1:
        raise ValueError(f"threads={number} must be at least 1; leave it out for one.")
    before = torch.get_num_threads()
    torch.set_num_threads(number)
    try:
        yield
    finally:
        torch.set_num_threads(before)


@cache
def _keep_freed_memory() -> None:
    """Let the C library keep what a step frees, for the next step: up to 1 GiB, until the process ends.

    glibc otherwise hands tensors of a megabyte and more back to the system at each step, which then
    has to clear their pages at the next one: up to twice the time of a step, in some packs only. Other
    libraries are left as they are.
    """
    trim_threshold, mmap_threshold = -1, -3  # their numbers in malloc.h
    with contextlib.suppress(OSError, AttributeError):
        library = ctypes.CDLL(None)
        library.mallopt(trim_threshold, 2**30)
        library.mallopt(mmap_threshold, 2**25)  # the largest that it takes


class Repeater:
    """Runs a step again and again: as it is on a CPU, as a CUDA graph on a GPU.

    A small network's step is dozens of kernels that each take microseconds, less than launching
    them from Python; a graph launches them all at once.

    Args:
        device: where the steps run.
        can_capture: whether the step can be a graph; else it runs as it is everywhere.
    """

    def __init__(self, device: torch.device, *, can_capture: bool = True) -> None:
        """Capture nothing yet: the first steps run as they are."""
        self._device = device
        self._captures = can_capture and device.type == "cuda"
        self._num_eager = 0
        self._graph: torch.cuda.CUDAGraph | None = None

    def run(self, step: Callable[[], None], num_steps: int) -> None:
        """Take so many steps.

        Args:
            step: always the same; reads and writes the same tensors at each call, on the device alone.
            num_steps: how often.
        """
        for _ in range(num_steps):
            if not self._captures:
                step()
            elif self._graph:
                self._graph.replay()
            elif self._num_eager < _EAGER_STEPS:
                self._run_beside(step)
            else:
                graph = torch.cuda.CUDAGraph()
                with torch.cuda.graph(graph, stream=_side_stream(self._device)):  # records the step, does not take it
                    step()
                graph.replay()
                self._graph = graph

    def _run_beside(self, step: Callable[[], None]) -> None:
        """Take a step on the stream on which one will be captured."""
        self._num_eager += 1
        stream, current = _side_stream(self._device), torch.cuda.current_stream(self._device)
        stream.wait_stream(current)
        with torch.cuda.stream(stream):
            step()
        current.wait_stream(stream)


@cache
def _side_stream(device: torch.device) -> torch.cuda.Stream:
    """One for the whole process: memory and workspaces are kept for each stream apart."""
    return torch.cuda.Stream(device)  # type: ignore[no-untyped-call]

"""Compiles what steps launch for CUDA devices, on a machine that needs none of them.

`python -m tests.compiled_kernels` has every kernel; with `--every` each in every form. Prints a line for each kernel
and architecture, with its registers a thread, the stack that registers are spilled to, and how many loads and stores
are of 16 bytes. It runs in a process of its own, where Triton compiles and does not interpret.
"""

import os

os.environ["TRITON_INTERPRET"] = "0"  # before anything imports Triton

import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
import triton
from torch import Tensor
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource

from psp_core import Trial, TrialConfig, load_dataset
from psp_core.kernels import choice
from psp_core.training import PackTraining

ARCHITECTURES = (80, 90)
TYPES = {torch.float32: "fp32", torch.bfloat16: "bf16", torch.float64: "fp64", torch.int64: "i64", torch.uint8: "u8"}
ALIGNED, ODD = {"width": 64, "batch_size": 64}, {"width": 37, "batch_size": 19}

Launch = tuple[choice.Kernel, tuple[str, ...], tuple[tuple[str, Any], ...], tuple[int, ...], int]


def launches(trial: Trial) -> Iterator[Launch]:
    """What a step of a pack launches: kernel, types of arguments, constants, which arguments 16 divides, and warps."""
    seen: list[Launch] = []

    def record(
        kernel: choice.Kernel, grid: tuple[int, ...], *arguments: object, num_warps: int = 4, **constants: object
    ) -> None:
        names = list(kernel.jitted.arg_names)
        known = {name: value for name, value in zip(names, arguments, strict=False) if is_constant(value)}
        given = tuple(sorted((constants | known).items()))
        seen.append((kernel, tuple(map(kind, arguments)), given, tuple(map(divisible, arguments)), num_warps))

    before, choice.Kernel.launch = choice.Kernel.launch, record
    try:
        PackTraining([trial, trial], load_dataset("digits"), torch.device("cpu")).train_task()
    finally:
        choice.Kernel.launch = before
    yield from seen


def is_constant(argument: object) -> bool:
    """Whether Triton compiles an argument into the kernel."""
    return argument is None or (isinstance(argument, int) and argument == 1)


def kind(argument: object) -> str:
    """The type of an argument as Triton writes it."""
    if is_constant(argument):
        return "constexpr"
    return "*" + TYPES[argument.dtype] if isinstance(argument, Tensor) else "i32"


def divisible(argument: object) -> bool:
    """Whether Triton may count on a multiple of 16."""
    number = argument.data_ptr() if isinstance(argument, Tensor) else argument
    return isinstance(number, int) and number % 16 == 0


def compile_for(launch: Launch, architecture: int) -> str:
    """Compile, and say what became of it."""
    kernel, kinds, constants, aligned, num_warps = launch
    names = kernel.jitted.arg_names
    signature = dict(zip(names, kinds, strict=False)) | {name: "constexpr" for name, _ in constants}
    attributes = {(place,): [["tt.divisibility", 16]] for place, is_so in enumerate(aligned) if is_so}
    values = {(names.index(name),): value for name, value in constants}
    source = ASTSource(kernel.jitted, signature, values, attributes)
    compiled = triton.compile(source, target=GPUTarget("cuda", architecture, 32), options={"num_warps": num_warps})
    ptx = compiled.asm["ptx"]
    loads, wide = len(re.findall(r"ld\.global", ptx)), len(re.findall(r"ld\.global\S*\.v(?:4|2\.b64)", ptx))
    stores, wide_stores = len(re.findall(r"st\.global", ptx)), len(re.findall(r"st\.global\S*\.v(?:4|2\.b64)", ptx))
    name = f"{kernel.function.__module__.rpartition('.')[2]}.{kernel.function.__name__}"
    given = " ".join(f"{key}={value}" for key, value in constants)
    types = " ".join(sorted({one for one in kinds if one.startswith("*")}))
    return (
        f"sm_{architecture} {name} {types} {given}: {resources(compiled.asm['cubin'])}"
        f" loads {wide}/{loads} stores {wide_stores}/{stores}"
    )


def resources(cubin: bytes) -> str:
    """Registers a thread and the stack of a compiled kernel."""
    tool = Path(triton.__file__).parent / "backends" / "nvidia" / "bin" / "cuobjdump"
    if not tool.exists():
        return f"{len(cubin)} bytes"
    with tempfile.NamedTemporaryFile(suffix=".cubin") as file:
        file.write(cubin)
        file.flush()
        said = subprocess.run([tool, "-res-usage", file.name], capture_output=True, text=True, check=True).stdout
    return " ".join(re.findall(r"(?:REG|STACK|SHARED):\d+", said))


def trial(context: str, precision: str, **shape: int) -> Trial:
    """One step."""
    return TrialConfig(
        dataset="digits", num_tasks=1, steps_per_task=1, context=context, precision=precision, eval_samples=1, **shape
    )


def trials(*, every: bool) -> list[Trial]:
    """Steps that launch every kernel; or also every one in every form."""
    if not every:
        return [trial(context, "bfloat16", **ALIGNED) for context in ("binary", "complex")] + [
            trial("none", "tf32", **ODD)
        ]
    return [
        trial(context, precision, **shape)
        for shape in (ALIGNED, ODD)
        for context in ("none", "binary", "complex", "plain-complex")
        for precision in ("tf32", "bfloat16")
    ]


def main(*, every: bool) -> None:
    """Compile each once."""
    choice.ALSO_ON.add("cpu")
    for launch in dict.fromkeys(launch for trial in trials(every=every) for launch in launches(trial)):
        for architecture in ARCHITECTURES:
            print(compile_for(launch, architecture), flush=True)


if __name__ == "__main__":
    main(every="--every" in sys.argv)

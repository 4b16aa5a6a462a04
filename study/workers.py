"""Where packs run: the number of workers, their devices and memory, and the bounds of a run."""

import os
import platform
import re
from dataclasses import dataclass, replace
from functools import cache, cached_property
from pathlib import Path
from typing import Final

import torch

from study.cgroups import cpu_quota, memory_limit
from study.rates import Rates, rates_of
from study.spec import StudyError

SHARES: Final = (1, 2, 4, 8)
"""How many packs may share a GPU where the planner chooses."""


@dataclass(frozen=True, kw_only=True)
class Workers:
    """The worker processes of a run.

    Attributes:
        device: `cpu` or `cuda`.
        count: how many packs run at once, at most.
        memory: bytes for each worker: its share of a GPU's memory, or of its machine's.
        cores: CPU cores of the smallest machine, so the most that one worker could have.
        packs_per_gpu: n, where n packs share a GPU; a worker then takes 1/n of one.
        name: the device's name; empty where it is not known.
    """

    device: str
    count: int
    memory: int
    cores: int
    packs_per_gpu: int = 1
    name: str = ""

    @cached_property
    def rates(self) -> Rates:
        """How fast the device is."""
        return rates_of(self.device, self.name)

    def shared(self, packs_per_gpu: int) -> "Workers":
        """These, each of a whole GPU, with so many packs on it."""
        n = packs_per_gpu
        return replace(self, count=self.count * n, memory=self.memory // n, packs_per_gpu=n)

    def threads(self, num_packs: int) -> int:
        """CPU threads for each of `num_packs` packs: one, or more where there are more cores than packs."""
        return 1 if self.device == "cuda" else max(1, min(self.cores, self.count // max(1, num_packs)))

    def __str__(self) -> str:
        """In words."""
        kind = (
            "CPU core" if self.device == "cpu" else "GPU" if self.packs_per_gpu == 1 else f"1/{self.packs_per_gpu} GPU"
        )
        return f"{self.count} x {kind}, {self.memory / 2**30:.1f} GiB each"


@dataclass(frozen=True, kw_only=True)
class Limits:
    """Bounds of a run.

    Attributes:
        threads: CPU cores for each pack. Two workers with two threads each on two cores run ten times slower than
            with one thread each.
        max_concurrent: packs that train at the same time, at most; None for as many as fit.
    """

    threads: int = 1
    max_concurrent: int | None = None


def among(whole: Workers, on_cores: Workers | None, packs_per_gpu: int | None, all_cores: float) -> list[Workers]:
    """The workers among which the planner chooses where there are GPUs, the simplest first.

    Args:
        whole: a worker for each GPU.
        on_cores: workers on CPU cores; None where GPUs are asked for.
        packs_per_gpu: how many packs share a GPU; None for the planner's choice.
        all_cores: CPU cores of all machines that have GPUs: each pack needs one.
    """
    if packs_per_gpu:
        return [whole.shared(packs_per_gpu)]
    shares = [whole.shared(n) for n in SHARES if n == 1 or n * whole.count <= all_cores]
    return [*shares, *([on_cores] if on_cores else [])]


def this_machine(packs_per_gpu: int | None = None, gpus: int | None = None) -> Workers:
    """The workers of this machine or container: its GPUs, a pack at a time on each unless told, else its CPU cores.

    Args:
        packs_per_gpu: how many packs share a GPU.
        gpus: how many GPUs to use; 0 for CPU cores only, None for all GPUs that are there.

    Raises:
        StudyError: as `choices_here`.
    """
    return choices_here(packs_per_gpu, gpus)[0]


def choices_here(packs_per_gpu: int | None = None, gpus: int | None = None) -> list[Workers]:
    """The workers among which the planner chooses on this machine or in this container, the simplest first.

    Args:
        packs_per_gpu: how many packs share a GPU; None for the planner's choice.
        gpus: how many GPUs to use; 0 for CPU cores only, None for all GPUs that are there, or the CPU cores.

    Raises:
        StudyError: the machine has fewer GPUs, or none for packs to share.
    """
    there = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if gpus and gpus > there:
        raise StudyError(
            f"gpus={gpus}: this machine has {there} that PyTorch can use (torch {torch.__version__}). Leave --gpus out "
            "to train on what is there, or name a cluster that has them with --address."
        )
    count = there if gpus is None else gpus
    refuse_shares_of_nothing(packs_per_gpu, count, "this machine trains on its CPU cores")
    cores = _cores()
    on_cores = Workers(device="cpu", count=cores, memory=_memory() // cores, cores=cores, name=cpu_name())
    if not count:
        return [on_cores]
    whole = Workers(device="cuda", count=count, memory=gpu_memory(), cores=cores, name=gpu_name())
    return among(whole, on_cores if gpus is None else None, packs_per_gpu, cores)


def refuse_shares_of_nothing(packs_per_gpu: int | None, num_gpus: float, where: str) -> None:
    """Refuse that packs share a GPU where there is no GPU.

    Raises:
        StudyError: there is no GPU; the message has `where`.
    """
    if packs_per_gpu and packs_per_gpu > 1 and not num_gpus:
        raise StudyError(f"packs_per_gpu={packs_per_gpu}: {where}, so there is no GPU to share. Leave it out.")


def _cores() -> int:
    """CPU cores that this process may use: those it is bound to, or fewer where a container limits its CPU time."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, min(cores, int(cpu_quota() or cores)))


def _memory() -> int:
    """Bytes of memory that this process may use."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return min(memory, memory_limit() or memory)


def gpu_memory() -> int:
    """Bytes of memory of this process's smallest GPU."""
    return min(torch.cuda.get_device_properties(i).total_memory for i in range(torch.cuda.device_count()))


def gpu_name() -> str:
    """The name of this process's first GPU."""
    return torch.cuda.get_device_name(0)


@cache
def cpu_name() -> str:
    """The name of this machine's processor."""
    try:
        found = re.search(r"model name\s*:\s*(.+)", Path("/proc/cpuinfo").read_text())
    except OSError:
        found = None
    return found.group(1) if found else platform.processor() or "CPU"

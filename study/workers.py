"""Where packs run: the number of workers, their devices and memory, and the bounds of a run."""

import os
import platform
import re
from dataclasses import dataclass
from functools import cache, cached_property
from pathlib import Path

import torch

from study.cgroups import cpu_quota, memory_limit
from study.rates import Rates, rates_of
from study.spec import StudyError


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


def gpu_workers(count: float, memory: int, cores: int, packs_per_gpu: int, name: str) -> Workers:
    """Workers on `count` GPUs of that name, of `memory` bytes each."""
    return Workers(
        device="cuda",
        count=int(count) * packs_per_gpu,
        memory=memory // packs_per_gpu,
        cores=cores,
        packs_per_gpu=packs_per_gpu,
        name=name,
    )


def this_machine(packs_per_gpu: int = 1, gpus: int | None = None) -> Workers:
    """The workers of this machine or container: its GPUs, else its CPU cores.

    Args:
        packs_per_gpu: how many packs share a GPU.
        gpus: how many GPUs to use; 0 for CPU cores only, None for all GPUs that are there.

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
    if count:
        return gpu_workers(count, gpu_memory(), cores, packs_per_gpu, gpu_name())
    return Workers(device="cpu", count=cores, memory=_memory() // cores, cores=cores, name=cpu_name())


def refuse_shares_of_nothing(packs_per_gpu: int, num_gpus: float, where: str) -> None:
    """Refuse that packs share a GPU where there is no GPU.

    Raises:
        StudyError: there is no GPU; the message has `where`.
    """
    if packs_per_gpu > 1 and not num_gpus:
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

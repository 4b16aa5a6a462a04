"""Where packs run: how many at once, on what, with how much memory, and within which bounds."""

import os
from dataclasses import dataclass

import torch


@dataclass(frozen=True, kw_only=True)
class Workers:
    """The worker processes of a run.

    Attributes:
        device: `cpu` or `cuda`.
        count: how many packs run at once, at most.
        memory: bytes that each may use: its share of a GPU's, or of its machine's.
        cores: CPU cores of the smallest machine: what one worker could have at most.
        packs_per_gpu: n, where n packs share a GPU; a worker then takes 1/n of one.
    """

    device: str
    count: int
    memory: int
    cores: int
    packs_per_gpu: int = 1

    def threads(self, num_packs: int) -> int:
        """CPU threads for each of so many packs: one, and more where there are more cores than packs."""
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
        threads: CPU cores for each pack; two workers with two threads each on two cores run ten times
            slower, not the same.
        max_concurrent: packs that train at the same time, at most; None for as many as there is room for.
        time_budget: seconds until the run stops; None for no end.
    """

    threads: int = 1
    max_concurrent: int | None = None
    time_budget: float | None = None


def gpu_workers(count: float, memory: int, cores: int, packs_per_gpu: int) -> Workers:
    """Workers on so many GPUs of so much memory."""
    return Workers(
        device="cuda",
        count=int(count) * packs_per_gpu,
        memory=memory // packs_per_gpu,
        cores=cores,
        packs_per_gpu=packs_per_gpu,
    )


def this_machine(packs_per_gpu: int = 1, *, cpu_only: bool = False) -> Workers:
    """The workers of this machine: its GPUs, else its CPU cores."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    if torch.cuda.is_available() and not cpu_only:
        return gpu_workers(torch.cuda.device_count(), gpu_memory(), cores, packs_per_gpu)
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return Workers(device="cpu", count=cores, memory=memory // cores, cores=cores)


def gpu_memory() -> int:
    """Bytes of the smallest of this process's GPUs."""
    return min(torch.cuda.get_device_properties(i).total_memory for i in range(torch.cuda.device_count()))

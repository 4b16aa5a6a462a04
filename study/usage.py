"""How busy this machine is, and the GPU that this process trains on."""

import contextlib
import platform
from typing import Any

import psutil
import torch


def usage(device: torch.device) -> dict[str, Any]:
    """What a worker reports beside its progress.

    Returns:
        host: the machine's name; cpu: the share of its processors' time since the last call; gpu: its own name,
        empty on a CPU; gpu_busy: the share of the GPU's time, None where NVML does not say; gpu_bytes and
        gpu_total: its memory that is in use, and all.
    """
    of_cpu = {"host": platform.node(), "cpu": psutil.cpu_percent() / 100}
    if device.type != "cuda":
        return of_cpu | {"gpu": "", "gpu_busy": None, "gpu_bytes": 0, "gpu_total": 0}
    free, total = torch.cuda.mem_get_info(device)
    busy = None
    with contextlib.suppress(Exception):  # NVML may be missing, or refuse in a way of its own: of a part of a GPU, say
        busy = torch.cuda.utilization(device) / 100
    index = device.index if device.index is not None else torch.cuda.current_device()
    uuid = str(torch.cuda.get_device_properties(index).uuid)
    return of_cpu | {"gpu": uuid, "gpu_busy": busy, "gpu_bytes": total - free, "gpu_total": total}

"""What workers report of their machines, also where NVML says nothing."""

from types import SimpleNamespace

import psutil
import pytest
import torch

from study.snapshot import Use
from study.usage import usage


def test_a_worker_on_cores_reports_its_processors(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(psutil, "cpu_percent", lambda: 50.0)
    report = usage(torch.device("cpu"))
    assert (report["cpu"], report["gpu"], report["gpu_busy"], report["gpu_total"]) == (0.5, "", None, 0)
    assert str(Use.of([report])) == "CPU 50%"


class Refused(Exception):
    """NVML's errors are of no common kind."""


@pytest.mark.parametrize(("says", "words"), [(71, "GPU 71%, 12.0 of 80 GB"), (None, "GPU 12.0 of 80 GB")])
def test_a_worker_on_a_gpu_reports_it(monkeypatch: pytest.MonkeyPatch, says: int | None, words: str) -> None:
    def utilization(device: torch.device) -> int:
        if says is None:
            raise Refused
        return says

    monkeypatch.setattr(psutil, "cpu_percent", lambda: 50.0)
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: (68_000_000_000, 80_000_000_000))
    monkeypatch.setattr(torch.cuda, "current_device", lambda: 0)
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda index: SimpleNamespace(uuid="a"))
    monkeypatch.setattr(torch.cuda, "utilization", utilization)
    report = usage(torch.device("cuda"))
    assert str(Use.of([report, report])) == f"CPU 50% · {words}"

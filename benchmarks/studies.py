"""(m) Studies as they are typed, on a GPU, Ray's start included. Before: 2026-11-27, one NVIDIA H200, torch 2.11."""

import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Final

import pyarrow.parquet as pq
import torch

from benchmarks.aims import Aim, rows
from benchmarks.timing import Row
from study.commands.run import OUT_OF_TIME

PAPER_GRID: Final = str(Path(__file__).with_name("paper-grid.yaml"))
TINY: Final = str(Path(__file__).with_name("tiny.yaml"))
BUDGET: Final = 540.0  # seconds that a study gets
LOOKED: Final = 0.1  # seconds between two looks at a store


@dataclass(frozen=True)
class Run:
    """How a study went.

    Attributes:
        first: seconds until a trial was stored.
        whole: seconds until all were.

    Both are None where the time was up before.
    """

    first: float | None
    whole: float | None
    stored: int

    def seconds(self, found: float | None) -> float:
        """What was found.

        Raises:
            TimeoutError: nothing was: the time was up before.
        """
        if found is None:
            raise TimeoutError(f"not within {BUDGET:g} s, in which {self.stored} trials were stored")
        return found


@dataclass
class Studies:
    """The studies that are run, each once and when its first number is asked for.

    Attributes:
        quick: whether one tiny trial takes the place of each study.
    """

    quick: bool

    @cached_property
    def quickstart(self) -> Run:
        """The shipped study."""
        return run(TINY if self.quick else "quickstart")

    @cached_property
    def paper_grid(self) -> Run:
        """225 trials of five widths and five contexts."""
        return run(TINY if self.quick else PAPER_GRID)


def run(study: str) -> Run:
    """Run a study, shipped or in a file, into a folder that is new and goes, for `BUDGET` seconds at most.

    Raises:
        RuntimeError: the command failed, for another reason than that its time was up.
    """
    with tempfile.TemporaryDirectory() as folder:
        out, log, first = Path(folder, "out"), Path(folder, "log"), None
        command = [sys.executable, "-m", "study", "run", study, "--out", str(out), "--time-budget", f"{BUDGET:g}"]
        start = time.perf_counter()
        with log.open("w") as file, subprocess.Popen(command, stdout=file, stderr=file) as process:
            while process.poll() is None:
                if first is None and any(out.glob("trials/*.parquet")):
                    first = time.perf_counter() - start
                time.sleep(LOOKED)
        whole = time.perf_counter() - start
        if process.returncode not in (0, OUT_OF_TIME):
            raise RuntimeError(log.read_text().strip().rpartition("\n")[2])
        stored = sum(pq.read_metadata(path).num_rows for path in out.glob("trials/*.parquet"))
        return Run(first, None if process.returncode else whole, stored)


AIMS: Final[list[Aim[Studies]]] = [
    Aim("s of quickstart", 54, 30, lambda studies: studies.quickstart.seconds(studies.quickstart.whole)),
    Aim(
        "s until paper-grid has a trial",
        None,
        60,
        lambda studies: studies.paper_grid.seconds(studies.paper_grid.first),
        note="before: none in 170 s",
    ),
    Aim(
        "s of paper-grid",
        1200,
        480,
        lambda studies: studies.paper_grid.seconds(studies.paper_grid.whole),
        note="before: as planned, not as measured",
    ),
]


def measure(device: torch.device, *, quick: bool) -> Iterator[Row]:
    """One row for each aim; a study without a GPU is as slow as a CPU."""
    return rows(AIMS, Studies(quick), device)

"""Stores of thousands of trials: the long form is `python -m tests.big_store`, docs/performance.md has its numbers."""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.big_store import write_big_store

pytestmark = pytest.mark.slow

# VmHWM begins anew with the program; ru_maxrss would count what this process had when it forked.
PEAK = """
import sys
from pathlib import Path
from study.cli import main
sys.argv = ["psp", *sys.argv[1:]]
try:
    main()
except SystemExit:
    pass
(peak,) = [line.split()[1] for line in Path("/proc/self/status").read_text().splitlines() if "VmHWM" in line]
print("peak", peak)
"""


def psp(*arguments: str) -> tuple[str, float]:
    """What it prints, and its peak memory in GiB."""
    done = subprocess.run(
        [sys.executable, "-c", PEAK, *arguments], capture_output=True, text=True, check=True, timeout=300
    )
    printed, _, peak = done.stdout.rpartition("peak ")
    return printed, int(peak) / 2**20


def test_a_fifth_of_ten_thousand_trials_is_read_and_drawn_in_a_fifth_of_the_memory(tmp_path: Path) -> None:
    """2,000 trials of 50 tasks, 2.55 million measurements; what is there at the start is 0.7 GiB."""
    out = str(tmp_path)
    write_big_store(tmp_path, 2000, 50)
    assert "now 1" in psp("compact", out)[0]
    printed, gibibytes = psp("status", out)
    assert "done     2000" in printed
    assert gibibytes < 1.0
    printed, gibibytes = psp("plot", out)
    assert printed.count("drew") == 6
    assert gibibytes < 0.3 + 4 / 5

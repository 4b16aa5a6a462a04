"""Stores of thousands of trials: the long form is `python -m tests.big_store`, docs/performance.md has its numbers."""

import tracemalloc
from collections.abc import Callable

import matplotlib as mpl
import pytest

from analysis.plot import plot_store
from analysis.store import read_store
from study.store import TrialStore
from tests.big_store import write_big_store

pytestmark = pytest.mark.slow

mpl.use("Agg")

TRIALS, TASKS = 125, 50
MEASUREMENTS = TRIALS * TASKS * (TASKS + 1) // 2


@pytest.fixture(scope="module")
def big_store(tmp_path_factory: pytest.TempPathFactory) -> str:
    out = tmp_path_factory.mktemp("big")
    store = write_big_store(out, TRIALS, TASKS)
    assert store.compact()[1] == 1
    return str(out)


def bytes_for_each_measurement(work: Callable[[], object]) -> float:
    """What Python and NumPy hold at most at once; a process's memory depends on its machine and on what else runs."""
    tracemalloc.start()
    try:
        work()
        return tracemalloc.get_traced_memory()[1] / MEASUREMENTS
    finally:
        tracemalloc.stop()


def test_status_does_not_look_at_measurements(big_store: str) -> None:
    store = TrialStore(big_store)
    assert bytes_for_each_measurement(lambda: store.finished()) < 10
    assert len(store.finished()[0]) == TRIALS


def test_a_measurement_takes_few_bytes_to_read_and_to_draw(big_store: str) -> None:
    """Ten thousand trials of 50 tasks have 12.8 million: 4 GB to read, 6 to draw."""
    assert len(read_store(big_store).evals) == MEASUREMENTS
    assert bytes_for_each_measurement(lambda: read_store(big_store)) < 320
    drawn: list[str] = []
    assert bytes_for_each_measurement(lambda: drawn.extend(plot_store(big_store))) < 500
    assert sum(line.startswith("drew") for line in drawn) == 9

"""R[i, j] of every trial, packed small: the page's script unpacks what a reader looks at."""

import base64
import zlib
from collections.abc import Mapping
from typing import Any, Final

import numpy as np
import pandas as pd

MOST_CELLS: Final = 600_000
"""Of all trials together: about 1.5 MB of the page at most."""
UNKNOWN: Final = 65_535
STEPS: Final = 10_000
"""Accuracies are whole numbers of so many parts."""


def packed(evals: pd.DataFrame, numbers: Mapping[str, int]) -> dict[str, Any]:
    """The matrices of these measurements.

    Where all matrices together have more than MOST_CELLS numbers, each has every n-th row and column, and the last.

    Args:
        evals: columns trial_id, tasks_seen, task, accuracy.
        numbers: each trial's number in the page.

    Returns:
        `of`: by trial's number the place of its first number, and which of `grids` has its rows and columns; `grids`:
        `seen` (tasks seen) and `task` of rows and columns; `every`: the n above; `data`: all numbers, row by row, as 16
        bits, little-endian, deflated, in base 64; accuracy times STEPS, UNKNOWN where not measured.
    """
    seen, tasks, codes, names = _columns(evals)
    sizes = [np.unique(seen[codes == code]).size * np.unique(tasks[codes == code]).size for code in range(len(names))]
    every = 1
    while sum(sizes) / every**2 > MOST_CELLS:
        every += 1
    grids: list[dict[str, list[int]]] = []
    of: dict[int, list[int]] = {}
    parts, place = [], 0
    accuracy = np.round(evals["accuracy"].to_numpy() * STEPS)
    order = np.argsort(codes, kind="stable")
    ends = np.searchsorted(codes[order], np.arange(len(names) + 1))
    for code, name in enumerate(names):
        rows = order[ends[code] : ends[code + 1]]
        grid = {"seen": _thin(seen[rows], every), "task": _thin(tasks[rows], every)}
        if grid not in grids:
            grids.append(grid)
        cells = np.full((len(grid["seen"]), len(grid["task"])), UNKNOWN, dtype="<u2")
        i, j = (np.searchsorted(grid[key], values[rows]) for key, values in (("seen", seen), ("task", tasks)))
        is_kept = np.isin(seen[rows], grid["seen"]) & np.isin(tasks[rows], grid["task"])
        cells[i[is_kept], j[is_kept]] = accuracy[rows][is_kept]
        of[numbers[str(name)]] = [place, grids.index(grid)]
        parts.append(cells.tobytes())
        place += cells.size
    data = base64.b64encode(zlib.compress(b"".join(parts), 9)).decode()
    return {"of": of, "grids": grids, "every": every, "steps": STEPS, "unknown": UNKNOWN, "data": data}


def _columns(evals: pd.DataFrame) -> tuple[Any, Any, Any, Any]:
    codes, names = pd.factorize(evals["trial_id"])
    return evals["tasks_seen"].to_numpy(), evals["task"].to_numpy(), codes, names


def _thin(values: "np.ndarray[Any, Any]", every: int) -> list[int]:
    """Every n-th distinct value, and the last."""
    distinct = np.unique(values)
    return [int(value) for value in np.unique([*distinct[::every], *distinct[-1:]])]

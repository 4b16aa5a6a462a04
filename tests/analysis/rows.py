"""Rows of trial stores for tests, as a worker writes them."""

from types import SimpleNamespace
from typing import Any

from study.worker import _row


def row_of(trial: Any, **outcome: object) -> dict[str, Any]:
    """A finished trial's row, all settings included."""
    job: Any = SimpleNamespace(study="made-up")
    return dict(_row(job, trial, status="ok", **outcome))

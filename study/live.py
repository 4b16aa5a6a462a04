"""Draws a snapshot of a run on a terminal: bars of the run and of each worker's pack, and each curve's best."""

from collections.abc import Sequence
from typing import Final

from rich.console import Group, RenderableType
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from psp_core.messages import plural
from study.snapshot import RunningPack, Snapshot

MOST_PACKS: Final = 16
MOST_CURVES: Final = 6


def lines(now: Snapshot) -> Group:
    """The lines, each cut to the terminal's width."""
    head = Table.grid(padding=(0, 1))
    head.add_row(ProgressBar(total=1.0, completed=now.share, width=30), Text(now.headline))
    use = [_line(str(now.use))] if str(now.use) else []
    return Group(head, _line(now.counts), *use, *_best(now), *_packs(now.packs))


def _best(now: Snapshot) -> list[RenderableType]:
    best = [f"best {accuracy:.3f} {curve} ({trial})" for curve, accuracy, trial in now.best[:MOST_CURVES]]
    more = len(now.best) - MOST_CURVES
    return [_line(text) for text in [*best, *([f"and {plural(more, 'more curve')}"] if more > 0 else [])]]


def _packs(packs: Sequence[RunningPack]) -> list[RenderableType]:
    if not packs:
        return []
    table = Table.grid(padding=(0, 1))
    for justify in ("left", "left", "right", "right"):
        table.add_column(no_wrap=True, justify=justify)
    table.add_column(ratio=1)  # the one that gives way; its texts are cut, not wrapped
    for pack in packs[:MOST_PACKS]:
        bar = ProgressBar(total=1.0, completed=pack.share, width=10)
        task = f"task {pack.task} of {pack.tasks}"
        table.add_row(pack.place, bar, task, pack.pace, _line(f"{pack.label}: {plural(pack.trials, 'trial')}"))
    more = len(packs) - MOST_PACKS
    return [table, *([_line(f"and {plural(more, 'more pack')}")] if more > 0 else [])]


def _line(text: str) -> Text:
    return Text(text, no_wrap=True, overflow="ellipsis")

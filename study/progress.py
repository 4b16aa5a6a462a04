"""What the user sees while a study runs: a live line on a terminal, one line per event elsewhere."""

import math
import time
from collections.abc import Mapping, Sequence
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn

from study.plan import Pack
from study.spec import Trial


class Tally:
    """Counts of a running study, its throughput and the time it still needs.

    The estimate weighs packs by their planned cost, task by task, so it does not jump when wide
    and narrow networks take turns.

    Args:
        packs: all packs of this run.
        axes: the settings that tell its trials apart.
        device: where they run, `cpu` or `cuda`.
    """

    def __init__(self, packs: Sequence[Pack], axes: Sequence[str], device: str = "cpu") -> None:
        """Nothing has happened yet."""
        self.axes = axes
        self.total = sum(len(pack.trials) for pack in packs)
        self.cost = {pack.id: pack.seconds(device) for pack in packs}
        self.total_cost = sum(self.cost.values())
        self.cost_done: dict[str, float] = {}
        self.running: dict[str, int] = {}
        self.done = self.failed = self.diverged = 0
        self.best: tuple[float, str] | None = None
        self.start = time.monotonic()
        self.first_pack: float | None = None

    def started(self, pack: Pack) -> None:
        """A pack begins, or begins again."""
        self.first_pack = self.first_pack or time.monotonic()
        self.running[pack.id] = len(pack.trials)

    def progressed(self, pack: Pack, result: Mapping[str, Any]) -> None:
        """A pack has trained one more task, or has ended."""
        self.cost_done[pack.id] = self.cost[pack.id] * (1.0 if result["done"] else result["fraction"])
        if not result["done"]:
            return
        self.running.pop(pack.id, None)
        if result["failed"]:
            self.failed += len(pack.trials)
            return
        self.done += len(pack.trials)
        self.diverged += result["diverged"]
        if result["accuracy"] > (self.best[0] if self.best else -1):  # false for NaN
            self.best = (result["accuracy"], self.label(pack))

    def lost(self, pack: Pack) -> None:
        """Ray gave up on a pack."""
        self.progressed(pack, {"done": True, "failed": True})

    def label(self, pack: Pack) -> str:
        """What tells this pack from the others, such as `context=binary width=64`."""
        return describe(pack.trials, self.axes)

    def eta(self) -> float | None:
        """Seconds until the end; None before anything is done."""
        cost_done = sum(self.cost_done.values())
        return self.since_first_pack() * (self.total_cost / cost_done - 1) if cost_done else None

    def since_first_pack(self) -> float:
        """Seconds since the first pack began; 0 before that."""
        return time.monotonic() - self.first_pack if self.first_pack else 0.0

    def elapsed(self) -> float:
        """Seconds since the start."""
        return time.monotonic() - self.start

    def summary(self) -> str:
        """One line: counts, throughput, time left, best so far."""
        eta = self.eta()
        parts = [
            f"{self.done} done",
            f"{sum(self.running.values())} running",
            f"{self.failed} failed",
            *([f"{self.diverged} diverged"] if self.diverged else []),
            f"{60 * self.done / max(self.elapsed(), 1e-9):.1f} trials/min",
            f"ETA {clock(eta) if eta is not None else '--:--'}",
            *([f"best {self.best[0]:.3f} ({self.best[1]})"] if self.best else []),
        ]
        return " · ".join(parts)


class Display:
    """Shows a tally; a context manager.

    Args:
        console: where to; a terminal gets a live line, anything else a line per finished pack.
        tally: what to show.
    """

    def __init__(self, console: Console, tally: Tally) -> None:
        """Show nothing yet."""
        self.console = console
        self.tally = tally
        text = "{task.percentage:3.0f}% of {task.fields[trials]} trials · {task.description}"
        columns = (BarColumn(30), TextColumn(text))
        self.live = Progress(*columns, console=console, transient=True, disable=not console.is_terminal)
        self.bar = self.live.add_task("starting Ray", total=tally.total_cost, trials=tally.total)

    def __enter__(self) -> "Display":
        """Begin."""
        self.live.start()
        return self

    def __exit__(self, *error: object) -> None:
        """End; the live line goes."""
        self.live.stop()

    def started(self, pack: Pack) -> None:
        """A pack begins."""
        self.tally.started(pack)
        self._refresh()

    def progressed(self, pack: Pack, result: Mapping[str, Any]) -> None:
        """A pack has trained one more task, or has ended."""
        self.tally.progressed(pack, result)
        self._refresh()
        if result["done"]:
            measured = f"accuracy {result['accuracy']:.3f}" if math.isfinite(result["accuracy"]) else "done"
            self._event(pack, "failed" if result["failed"] else measured)

    def lost(self, pack: Pack) -> None:
        """Ray gave up on a pack."""
        self.tally.lost(pack)
        self._refresh()
        self._event(pack, "failed: Ray gave up on it")

    def _refresh(self) -> None:
        done = sum(self.tally.cost_done.values())
        self.live.update(self.bar, completed=done, description=self.tally.summary())

    def _event(self, pack: Pack, outcome: str) -> None:
        if self.console.is_terminal:
            return
        tally = self.tally
        eta = tally.eta()
        self.console.print(
            f"[{tally.done + tally.failed}/{tally.total}] {clock(tally.elapsed())} {tally.label(pack)}: "
            f"{len(pack.trials)} trials, {outcome}; ETA {clock(eta) if eta is not None else '--:--'}",
            markup=False,
            highlight=False,
            soft_wrap=True,
        )


def describe(trials: Sequence[Trial], axes: Sequence[str]) -> str:
    """The settings that vary over a study, with these trials' values."""
    values = {axis: list(dict.fromkeys(getattr(trial, axis) for trial in trials)) for axis in axes}
    named = [f"{axis}={','.join(map(str, chosen))}" for axis, chosen in values.items()]
    return " ".join(named) or f"context={trials[0].context}"


def clock(seconds: float) -> str:
    """A duration as m:ss or h:mm:ss."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"

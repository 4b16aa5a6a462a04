"""What a running study prints: a line for each pack that ends, and on a terminal the progress of the study."""

import math
import time
from collections.abc import Mapping, Sequence
from typing import Any, Final

from rich.console import Group
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from psp_core.experiment import Experiment
from psp_core.messages import plural
from study.plan import Pack, trial_id
from study.screen import Screen, clock
from study.workers import Workers, this_machine

SECONDS_OF_SILENCE: Final = 60
MOST_LINES: Final = 8  # of running packs


class Tally:
    """Counts of a running study, its throughput and the remaining time.

    The estimate of the remaining time weighs each task by its planned cost, so that it does not jump when wide and
    narrow networks take turns.

    Args:
        packs: all packs of this run.
        axes: the settings that differ between its trials.
        workers: where they run; this machine by default.
        start: when the run began, by `time.monotonic`; now by default.
    """

    def __init__(
        self, packs: Sequence[Pack], axes: Sequence[str], workers: Workers | None = None, start: float | None = None
    ) -> None:
        """Count nothing yet."""
        workers = workers or this_machine()
        self.axes = axes
        self.total = sum(len(pack.trials) for pack in packs)
        self.cost = {pack.id: pack.seconds(workers) for pack in packs}
        self.trials = {pack.id: len(pack.trials) for pack in packs}
        self.total_cost = sum(self.cost.values())
        self.cost_done: dict[str, float] = {}
        self.running: dict[str, Pack] = {}
        self.tasks: dict[str, int] = {}  # seen by each running pack
        self.done = self.failed = self.diverged = 0
        self.best: tuple[float, str] | None = None
        self.start = time.monotonic() if start is None else start
        self.first_pack: float | None = None

    def started(self, pack: Pack) -> None:
        """A pack begins, or begins again."""
        self.first_pack = self.first_pack or time.monotonic()
        self.running[pack.id] = pack
        self.tasks.setdefault(pack.id, pack.tasks_before)

    def progressed(self, pack: Pack, result: Mapping[str, Any]) -> None:
        """A pack has trained one more task, or has ended."""
        self.cost_done[pack.id] = self.cost[pack.id] * (1.0 if result["done"] else result["fraction"])
        if not result["done"]:
            before, visits = pack.tasks_before, pack.num_visits
            self.tasks[pack.id] = before + round(result["fraction"] * (visits - before))
            return
        self.running.pop(pack.id, None)
        if result["failed"]:
            self.failed += len(pack.trials)
            return
        self.done += len(pack.trials)
        self.diverged += result["diverged"]
        if result["accuracy"] > (self.best[0] if self.best else -1):  # false for NaN
            best = [trial for trial in pack.trials if trial_id(trial) == result["best"]]
            self.best = (result["accuracy"], describe(best, self.axes))

    def lost(self, pack: Pack) -> None:
        """Ray gave up on a pack."""
        self.progressed(pack, {"done": True, "failed": True})

    def label(self, pack: Pack) -> str:
        """The settings that distinguish this pack, such as `context=binary width=64`."""
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

    def eta_clock(self) -> str:
        """The time until the end as a clock shows it."""
        eta = self.eta()
        return clock(eta) if eta is not None else "--:--"

    def rate(self) -> str:
        """Trials per minute, with fractions of unfinished trials; dashes before anything is done."""
        trained = sum(self.trials[pack] * done / self.cost[pack] for pack, done in self.cost_done.items())
        return f"{60 * trained / self.since_first_pack():.1f}" if trained and self.since_first_pack() else "--"

    def best_text(self) -> str:
        """The best trial's accuracy, and its settings."""
        assert self.best
        return f"{self.best[0]:.3f} ({self.best[1]})"

    def headline(self) -> str:
        """Share done, elapsed and remaining time, in at most 48 columns beside the bar."""
        share = sum(self.cost_done.values()) / self.total_cost if self.total_cost else 0.0
        begun = f"ETA {self.eta_clock()}" if self.first_pack else "starting workers"
        return f"{share:4.0%} · {clock(self.elapsed())} · {begun}"

    def counts(self) -> str:
        """Numbers of trials done, running, failed and diverged, and trials per minute."""
        parts = [
            f"{self.done + self.failed} of {plural(self.total, 'trial')}",
            f"{sum(len(pack.trials) for pack in self.running.values())} running",
            f"{self.failed} failed",
            *([f"{self.diverged} diverged"] if self.diverged else []),
            f"{self.rate()} trials/min",
        ]
        return " · ".join(parts)

    def underway(self) -> list[str]:
        """How far each running pack is, such as `context=binary width=256: 9 trials, task 12 of 50`."""
        return [
            f"{self.label(pack)}: {plural(len(pack.trials), 'trial')}, task {self.tasks[pack.id]} of {pack.num_visits}"
            for pack in self.running.values()
        ]


class Display:
    """Shows a tally: a line for each pack that ends, and how far running packs are; a context manager.

    On a terminal that stands in live lines below. Elsewhere it is printed in each minute in which nothing else was.

    Args:
        screen: where to print.
        tally: what to show.
    """

    def __init__(self, screen: Screen, tally: Tally) -> None:
        """Show nothing yet."""
        self.screen = screen
        self.tally = tally
        self.live = Live(get_renderable=self._lines, console=screen, transient=True) if screen.is_live else None
        self.last_line = time.monotonic()

    def __enter__(self) -> "Display":
        """Begin."""
        if self.live:
            self.live.start()
        return self

    def __exit__(self, *error: object) -> None:
        """Remove the live lines, and print the best accuracy."""
        if self.live:
            self.live.stop()
        if self.tally.best:
            self.screen.say(f"best {self.tally.best_text()}")

    def started(self, pack: Pack) -> None:
        """A pack begins."""
        self.tally.started(pack)

    def progressed(self, pack: Pack, result: Mapping[str, Any]) -> None:
        """A pack has trained one more task, or has ended."""
        self.tally.progressed(pack, result)
        if result["done"]:
            measured = f"accuracy {result['accuracy']:.3f}" if math.isfinite(result["accuracy"]) else "done"
            self._event(pack, "failed" if result["failed"] else measured)

    def lost(self, pack: Pack) -> None:
        """Ray gave up on a pack."""
        self.tally.lost(pack)
        self._event(pack, "failed: Ray gave up on it")

    def look(self) -> None:
        """Say how far running packs are, if nothing was said for a minute; to be called often."""
        if self.live or time.monotonic() - self.last_line < SECONDS_OF_SILENCE:
            return
        self.last_line = time.monotonic()
        for line in _shortened(self.tally.underway()):
            self.screen.say(f"{clock(self.tally.elapsed())} {line}")

    def _lines(self) -> Group:
        """The live lines, each cut to the terminal's width: progress, counts, the best accuracy, running packs."""
        tally = self.tally
        bar = ProgressBar(total=tally.total_cost, completed=sum(tally.cost_done.values()), width=30)
        head = Table.grid(padding=(0, 1))
        head.add_row(bar, Text(tally.headline()))
        best = [f"best {tally.best_text()}"] if tally.best else []
        texts = [tally.counts(), *best, *_shortened(tally.underway())]
        return Group(head, *(Text(text, no_wrap=True, overflow="ellipsis") for text in texts))

    def _event(self, pack: Pack, outcome: str) -> None:
        tally = self.tally
        of_trials = plural(len(pack.trials), "trial")
        eta = "" if self.live else f"; ETA {tally.eta_clock()}"  # the live lines show the ETA
        self.screen.say(
            f"[{tally.done + tally.failed}/{tally.total}] {clock(tally.elapsed())} {tally.label(pack)}: "
            f"{of_trials}, {outcome}{eta}"
        )
        self.last_line = time.monotonic()


def _shortened(lines: list[str]) -> list[str]:
    more = len(lines) - MOST_LINES
    return [*lines[:MOST_LINES], f"and {plural(more, 'more pack')}"] if more > 0 else lines


def describe(trials: Sequence[Experiment], axes: Sequence[str]) -> str:
    """The settings that vary in a study, with the values of these trials; none of a setting that they do not have."""
    values = {axis: list(dict.fromkeys(trial.row[axis] for trial in trials if axis in trial.row)) for axis in axes}
    named = [f"{axis}={','.join(map(str, chosen))}" for axis, chosen in values.items() if chosen]
    return " ".join(named) or f"context={trials[0].row['context']}"

"""What a running study prints: a line for each pack that ends, and on a terminal the progress of the study."""

import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from rich.live import Live

from psp_core.experiment import Experiment
from psp_core.messages import plural
from study.eta import Course, remaining
from study.heartbeat import Heartbeat
from study.live import lines
from study.plan import Pack, trial_id
from study.screen import Screen, clock
from study.snapshot import RunningPack, Snapshot, Use
from study.workers import Workers, this_machine

SECONDS_OF_SILENCE: Final = 60
MOST_LINES: Final = 8  # of running packs, where lines cannot be drawn again
SECONDS_OF_PACE: Final = 5.0  # over which steps a second are counted, at least, where reports come that often


@dataclass
class _Pace:
    """How fast a pack trains, by what was heard last: when that was, and how much of it was trained."""

    heard: float
    fraction: float
    steps_per_second: float | None = None


class Tally:
    """Counts of a running study, its throughput and the remaining time (`study.eta`).

    Args:
        packs: all packs of this run, in the order in which they start.
        axes: the settings that differ between its trials.
        workers: where they run; this machine by default.
        start: when the run began, by `time.monotonic`; now by default.
        at_once: how many packs train at the same time; as many as there are workers by default.
    """

    def __init__(
        self,
        packs: Sequence[Pack],
        axes: Sequence[str],
        workers: Workers | None = None,
        start: float | None = None,
        at_once: int | None = None,
    ) -> None:
        """Count nothing yet."""
        workers = workers or this_machine()
        self.axes = axes
        self.at_once = at_once or workers.count
        self.total = sum(len(pack.trials) for pack in packs)
        self.courses = {pack.id: Course(pack.seconds(workers)) for pack in packs}
        self.trials = {pack.id: len(pack.trials) for pack in packs}
        self.running: dict[str, Pack] = {}
        self.paces: dict[str, _Pace] = {}
        self.reports: dict[str, Mapping[str, Any]] = {}  # the last of each running pack
        self.done = self.failed = self.diverged = 0
        self.best: dict[str, tuple[float, str]] = {}  # of each curve the accuracy, and the trial in words
        self.start = time.monotonic() if start is None else start
        self.first_pack: float | None = None

    def started(self, pack: Pack) -> None:
        """A pack begins, or begins again."""
        now = time.monotonic()
        self.first_pack = self.first_pack or now
        self.running[pack.id] = pack
        self.reports.pop(pack.id, None)
        self.paces.pop(pack.id, None)
        course = self.courses[pack.id]
        course.began = course.heard = now
        course.fraction = course.at_first = 0.0

    def progressed(self, pack: Pack, result: Mapping[str, Any]) -> None:
        """A pack has trained one more task, or has ended."""
        now, course = time.monotonic(), self.courses[pack.id]
        course.fraction = 1.0 if result["done"] else result["fraction"]
        course.at_first, course.heard = result.get("at_first", 0.0), now
        self._take_pace(pack, now, course.fraction)
        for curve, (accuracy, best) in result.get("bests", {}).items():
            if accuracy > self.best.get(curve, (-1.0, ""))[0]:
                (trial,) = (trial for trial in pack.trials if trial_id(trial) == best)
                others = [axis for axis in self.axes if axis not in trial.curve_of]  # which the curve does not say
                self.best[curve] = (accuracy, describe([trial], [*others, "seed"]))
        if not result["done"]:
            self.reports[pack.id] = result
            return
        self.running.pop(pack.id, None)
        self.reports.pop(pack.id, None)
        if result["failed"]:
            self.failed += len(pack.trials)
        else:
            self.done += len(pack.trials)
            self.diverged += result["diverged"]

    def _take_pace(self, pack: Pack, now: float, fraction: float) -> None:
        before = self.paces.setdefault(
            pack.id, _Pace(self.courses[pack.id].began or now, self.courses[pack.id].at_first)
        )
        if now - before.heard >= SECONDS_OF_PACE or (before.steps_per_second is None and now > before.heard):
            pace = pack.num_steps * (fraction - before.fraction) / (now - before.heard)
            self.paces[pack.id] = _Pace(now, fraction, pace)

    def lost(self, pack: Pack) -> None:
        """Ray gave up on a pack."""
        self.progressed(pack, {"done": True, "failed": True})

    def label(self, pack: Pack) -> str:
        """The settings that distinguish this pack, such as `context=binary width=64`."""
        return describe(pack.trials, self.axes)

    def since_first_pack(self) -> float:
        """Seconds since the first pack began; 0 before that."""
        return time.monotonic() - self.first_pack if self.first_pack else 0.0

    def snapshot(self) -> Snapshot:
        """What the run is now."""
        now = time.monotonic()
        courses = list(self.courses.values())
        planned = sum(course.planned for course in courses)
        trained = sum(self.trials[name] * course.trained for name, course in self.courses.items())
        since = self.since_first_pack()
        best = sorted(self.best.items(), key=lambda entry: -entry[1][0])
        return Snapshot(
            total=self.total,
            ended=self.done + self.failed,
            failed=self.failed,
            diverged=self.diverged,
            share=sum(course.planned * course.fraction for course in courses) / planned if planned else 0.0,
            elapsed=now - self.start,
            eta=remaining(courses, self.at_once, now),
            trials_per_minute=60 * trained / since if trained and since else None,
            has_begun=self.first_pack is not None,
            best=[(curve, accuracy, trial) for curve, (accuracy, trial) in best],
            packs=[self.seen(pack) for pack in self.running.values()],
            use=Use.of([report["use"] for report in self.reports.values() if "use" in report]),
        )

    def seen(self, pack: Pack) -> RunningPack:
        """A pack that is being trained."""
        fraction, before = self.courses[pack.id].fraction, pack.tasks_before
        pace = self.paces.get(pack.id)
        return RunningPack(
            label=self.label(pack),
            trials=len(pack.trials),
            task=before + round(fraction * (pack.num_visits - before)),
            tasks=pack.num_visits,
            share=fraction,
            place=self._place(pack),
            steps_per_second=pace.steps_per_second if pace else None,
        )

    def _place(self, pack: Pack) -> str:
        """The device that a pack trains on, with its machine where there are several; dots before that is known."""
        report = self.reports.get(pack.id)
        if report is None or "place" not in report:
            return "..."
        hosts = {each["use"]["host"] for each in self.reports.values() if "use" in each}
        return f"{report['use']['host']} {report['place']}" if len(hosts) > 1 else str(report["place"])


class Display:
    """Shows a tally: a line for each pack that ends, and how far running packs are; a context manager.

    On a terminal that stands in live lines below. Elsewhere it is printed in each minute in which nothing else was.

    Args:
        screen: where to print.
        tally: what to show.
        heartbeat: keeps snapshots for others to watch, if any.
    """

    def __init__(self, screen: Screen, tally: Tally, heartbeat: Heartbeat | None = None) -> None:
        """Show nothing yet."""
        self.screen = screen
        self.tally = tally
        self.heartbeat = heartbeat
        self.live: Live | None = None
        if screen.is_live:
            self.live = Live(get_renderable=lambda: lines(tally.snapshot()), console=screen, transient=True)
        self.last_line = time.monotonic()

    def __enter__(self) -> "Display":
        """Begin."""
        if self.live:
            self.live.start()
        return self

    def __exit__(self, *error: object) -> None:
        """Remove the live lines, and print the best accuracy, and each curve's in detail."""
        if self.live:
            self.live.stop()
        for place, (curve, accuracy, trial) in enumerate(self.tally.snapshot().best):
            (self.screen.detail if place else self.screen.say)(f"best {accuracy:.3f} {curve} ({trial})")

    def started(self, pack: Pack) -> None:
        """A pack begins."""
        self.tally.started(pack)
        self._detail(pack, f"{plural(len(pack.trials), 'trial')} begin")

    def progressed(self, pack: Pack, result: Mapping[str, Any]) -> None:
        """A pack has trained one more task, or has ended."""
        self.tally.progressed(pack, result)
        if result["done"]:
            measured = f"accuracy {result['accuracy']:.3f}" if math.isfinite(result["accuracy"]) else "done"
            self._event(pack, "failed" if result["failed"] else measured)
        else:
            running = self.tally.seen(pack)
            self._detail(pack, f"task {running.task} of {running.tasks}, {running.pace}, {running.place}")

    def lost(self, pack: Pack) -> None:
        """Ray gave up on a pack."""
        self.tally.lost(pack)
        self._event(pack, "failed: Ray gave up on it")

    def look(self) -> None:
        """Keep a snapshot, and say how far running packs are if nothing was said for a minute; to be called often."""
        if self.heartbeat and self.heartbeat.is_due:
            self.heartbeat.beat(self.tally.snapshot())
        if self.live or time.monotonic() - self.last_line < SECONDS_OF_SILENCE:
            return
        self.last_line = time.monotonic()
        now = self.tally.snapshot()
        for line in shortened([str(pack) for pack in now.packs]):
            self.screen.say(f"{clock(now.elapsed)} {line}")

    def _event(self, pack: Pack, outcome: str) -> None:
        now = self.tally.snapshot()
        of_trials = plural(len(pack.trials), "trial")
        eta = "" if self.live else f"; ETA {now.eta_clock}"  # the live lines show the ETA
        self.screen.say(
            f"[{now.ended}/{now.total}] {clock(now.elapsed)} {self.tally.label(pack)}: {of_trials}, {outcome}{eta}"
        )
        self.last_line = time.monotonic()

    def _detail(self, pack: Pack, text: str) -> None:
        self.screen.detail(f"{clock(time.monotonic() - self.tally.start)} {self.tally.label(pack)}: {text}")


def shortened(texts: list[str]) -> list[str]:
    """The first of these lines, and how many more packs there are."""
    more = len(texts) - MOST_LINES
    return [*texts[:MOST_LINES], f"and {plural(more, 'more pack')}"] if more > 0 else texts


def describe(trials: Sequence[Experiment], axes: Sequence[str]) -> str:
    """The settings that vary in a study, with the values of these trials; none of a setting that they do not have."""
    values = {axis: list(dict.fromkeys(trial.row[axis] for trial in trials if axis in trial.row)) for axis in axes}
    named = [f"{axis}={','.join(map(str, chosen))}" for axis, chosen in values.items() if chosen]
    return " ".join(named) or f"context={trials[0].row['context']}"

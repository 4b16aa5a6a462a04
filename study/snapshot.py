"""What a run is at one moment, as its display shows it, and `psp status --watch` from elsewhere."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Self

from psp_core.messages import plural
from study.screen import clock


@dataclass(frozen=True, kw_only=True)
class RunningPack:
    """A pack that a worker trains.

    Attributes:
        label: the settings that distinguish it, such as `context=binary width=64`.
        trials: how many it has.
        task: after how many tasks it was last heard of.
        tasks: how many it has in all.
        share: of it that is trained.
        place: the worker's device, with its machine where there are several.
        steps_per_second: optimiser steps of the pack; None before that is known.
    """

    label: str
    trials: int
    task: int
    tasks: int
    share: float
    place: str
    steps_per_second: float | None

    def __str__(self) -> str:
        """On one line."""
        return f"{self.label}: {plural(self.trials, 'trial')}, task {self.task} of {self.tasks}"

    @property
    def pace(self) -> str:
        """Its steps a second; dashes before that is known."""
        known = self.steps_per_second
        return "-- steps/s" if known is None else f"{known:,.0f} steps/s" if known >= 10 else f"{known:.1f} steps/s"


@dataclass(frozen=True, kw_only=True)
class Use:
    """How busy the machines of a run are, on average.

    Attributes:
        cpu: share of the processors' time.
        gpu: share of the GPUs' time; None where that is not known.
        gpu_bytes: memory in use on all GPUs of the run.
        gpu_total: memory that they have; 0 without GPUs.
    """

    cpu: float | None = None
    gpu: float | None = None
    gpu_bytes: int = 0
    gpu_total: int = 0

    @classmethod
    def of(cls, reports: Sequence[Mapping[str, Any]]) -> Self:
        """Together, by what each worker last reported of its machine and its GPU (`study.usage.usage`)."""
        machines = {report["host"]: report["cpu"] for report in reports}
        gpus = {(report["host"], report["gpu"]): report for report in reports if report["gpu"]}
        busy = [report["gpu_busy"] for report in gpus.values() if report["gpu_busy"] is not None]
        return cls(
            cpu=sum(machines.values()) / len(machines) if machines else None,
            gpu=sum(busy) / len(busy) if busy else None,
            gpu_bytes=sum(report["gpu_bytes"] for report in gpus.values()),
            gpu_total=sum(report["gpu_total"] for report in gpus.values()),
        )

    def __str__(self) -> str:
        """In words, such as `CPU 98% · GPU 71%, 12.3 of 80 GB`; empty where nothing is known."""
        busy = [f"{self.gpu:.0%}"] if self.gpu is not None else []
        memory = [f"{self.gpu_bytes / 1e9:.1f} of {self.gpu_total / 1e9:.0f} GB"] if self.gpu_total else []
        parts = [f"CPU {self.cpu:.0%}"] if self.cpu is not None else []
        return " · ".join([*parts, *([f"GPU {', '.join([*busy, *memory])}"] if busy or memory else [])])


@dataclass(frozen=True, kw_only=True)
class Snapshot:
    """A running study at one moment.

    Attributes:
        total: trials of the run, or of a stage of it.
        ended: trials that have a result or failed.
        failed: those that failed.
        diverged: those that diverged.
        share: how much of the run is done, by planned cost.
        elapsed: seconds since it began.
        eta: seconds until its end; None before that is known.
        trials_per_minute: with fractions of unfinished trials; None before that is known.
        has_begun: whether a worker has begun a pack.
        best: of each curve its label, its best accuracy so far and the settings of that trial; the best first.
        packs: those that are being trained.
        use: how busy the machines are.
    """

    total: int
    ended: int
    failed: int
    diverged: int
    share: float
    elapsed: float
    eta: float | None
    trials_per_minute: float | None
    has_begun: bool
    best: list[tuple[str, float, str]]
    packs: list[RunningPack]
    use: Use

    @property
    def headline(self) -> str:
        """Share done, elapsed and remaining time, in at most 48 columns."""
        begun = f"ETA {self.eta_clock}" if self.has_begun else "starting workers"
        return f"{self.share:4.0%} · {clock(self.elapsed)} · {begun}"

    @property
    def eta_clock(self) -> str:
        """The time until the end as a clock shows it."""
        return "--:--" if self.eta is None else clock(self.eta)

    @property
    def counts(self) -> str:
        """Numbers of trials done, running, failed and diverged, and trials per minute."""
        rate = "--" if self.trials_per_minute is None else f"{self.trials_per_minute:.1f}"
        parts = [
            f"{self.ended} of {plural(self.total, 'trial')}",
            f"{sum(pack.trials for pack in self.packs)} running",
            f"{self.failed} failed",
            *([f"{self.diverged} diverged"] if self.diverged else []),
            f"{rate} trials/min",
        ]
        return " · ".join(parts)

    def to_json(self) -> str:
        """As a file holds it."""
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str | bytes) -> Self:
        """From such a file.

        Raises:
            ValueError: it holds something else.
        """
        try:
            content = json.loads(text)
            packs, use = [RunningPack(**pack) for pack in content.pop("packs")], Use(**content.pop("use"))
            best = [(str(curve), float(accuracy), str(trial)) for curve, accuracy, trial in content.pop("best")]
            return cls(**content, packs=packs, use=use, best=best)
        except (KeyError, TypeError, AttributeError) as error:
            raise ValueError(f"no snapshot of a run: {error}") from None

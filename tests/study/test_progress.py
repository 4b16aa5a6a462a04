import io
import math
import re
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from study.files import Files
from study.heartbeat import Heartbeat, heard
from study.live import lines
from study.plan import Pack, make_packs, merge, trial_id
from study.progress import Display, Tally
from study.screen import Screen
from study.snapshot import RunningPack, Snapshot, Use
from study.watch import watch
from study.workers import this_machine
from tests.conftest import small_study


def packs() -> list[Pack]:
    axes = {"context": ["binary", "rotation"], "width": [4, 8]}  # four shapes
    return make_packs(merge(small_study(axes=axes).trials()))


def ended(pack: Pack, accuracy: float = 0.5) -> dict[str, Any]:
    best = pack.trials[-1]
    bests = {} if math.isnan(accuracy) else {"".join(best.curve_of.values()): (accuracy, trial_id(best))}
    return {"fraction": 1.0, "done": True, "failed": False, "diverged": 0, "accuracy": accuracy, "bests": bests}


def half_way(pack: Pack, fraction: float, **more: object) -> dict[str, Any]:
    return {**ended(pack), "done": False, "bests": {}, "fraction": fraction, **more}


@pytest.fixture
def now(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The clock, which the test moves."""
    clock = [100.0]
    monkeypatch.setattr("study.progress.time.monotonic", lambda: clock[0])
    return clock


def test_a_tally_counts_and_keeps_the_best(now: list[float]) -> None:
    first, second, third, _ = packs()
    tally = Tally(packs(), ["context", "width"])
    assert tally.snapshot().eta is None
    for pack in (first, second, third):
        tally.started(pack)
    assert "6 running" in tally.snapshot().counts
    now[0] += 1
    tally.progressed(first, ended(first, 0.5))
    tally.progressed(second, ended(second, 0.75))
    tally.lost(third)
    assert (tally.done, tally.failed, tally.running) == (4, 2, {})
    (curve, accuracy, trial), *_ = tally.snapshot().best
    assert (curve, accuracy) == (second.trials[-1].context, 0.75)
    assert trial == f"width={second.trials[-1].width} seed=1"
    assert tally.snapshot().eta is not None


def test_each_curve_has_its_best(now: list[float]) -> None:
    some = [
        Pack(tuple(merge(small_study(axes={"context": ["none", "binary"], "width": [n]}).trials()))) for n in (4, 8)
    ]
    tally = Tally(some, ["context", "width"])
    for pack, best in zip(some, (0.6, 0.5), strict=True):
        ids = {trial.row["context"]: trial_id(trial) for trial in pack.trials}
        bests = {context: (best + 0.1 * (context == "binary"), name) for context, name in ids.items()}
        tally.progressed(pack, {**ended(pack), "bests": bests})
    best = {curve: accuracy for curve, accuracy, _ in tally.snapshot().best}
    assert best == {"binary": pytest.approx(0.7), "none": pytest.approx(0.6)}
    assert [curve for curve, *_ in tally.snapshot().best] == ["binary", "none"]
    assert all(trial.startswith("width=4 seed=") for *_, trial in tally.snapshot().best)


def test_a_pack_that_diverged_is_never_the_best() -> None:
    first, second, *_ = packs()
    tally = Tally(packs(), ["context"])
    tally.progressed(first, {**ended(first, float("nan")), "diverged": 2})
    assert tally.best == {}
    assert "2 diverged" in tally.snapshot().counts
    tally.progressed(second, ended(second, 0.5))
    assert len(tally.best) == 1


def test_time_left_follows_from_the_plan_and_the_pace_so_far(now: list[float]) -> None:
    tally = Tally(packs(), [], at_once=1)
    first, *others = packs()
    tally.started(first)
    now[0] += 10
    here = this_machine()
    tally.progressed(first, half_way(first, 1 / 3))
    ratio = 10 / (first.seconds(here) / 3)
    assert tally.snapshot().eta == pytest.approx(20 + ratio * sum(pack.seconds(here) for pack in others))


def test_what_an_earlier_run_trained_is_no_pace_of_this_one(now: list[float]) -> None:
    tally = Tally(packs()[:1], [], at_once=1)
    (first, *_) = packs()
    tally.started(first)
    now[0] += 10
    tally.progressed(first, half_way(first, 2 / 3, at_first=1 / 3))
    snapshot = tally.snapshot()
    assert snapshot.eta == pytest.approx(10)
    assert snapshot.share == pytest.approx(2 / 3)
    assert snapshot.trials_per_minute == pytest.approx(60 * 2 / 3 / 10)
    assert snapshot.packs[0].steps_per_second == pytest.approx(first.num_steps / 3 / 10)


def test_trials_a_minute_count_what_is_half_way(now: list[float]) -> None:
    tally = Tally(packs(), [], start=40.0)
    assert "-- trials/min" in tally.snapshot().counts
    assert "starting workers" in tally.snapshot().headline
    tally.started(packs()[0])
    now[0] += 30
    tally.progressed(packs()[0], half_way(packs()[0], 0.5))
    assert "2.0 trials/min" in tally.snapshot().counts  # one trial's worth of two in half a minute
    assert "1:30" in tally.snapshot().headline  # since the run began, as its last line says


def test_steps_a_second_are_of_the_last_seconds(now: list[float]) -> None:
    (pack, *_) = packs()
    tally = Tally(packs(), [])
    tally.started(pack)
    assert tally.seen(pack).pace == "-- steps/s"
    paces = []
    for seconds, fraction in ((1, 0.1), (1, 0.3), (9, 0.6), (1, 0.7)):
        now[0] += seconds
        tally.progressed(pack, half_way(pack, fraction))
        paces.append(tally.seen(pack).steps_per_second)
    steps = pack.num_steps
    assert paces == [pytest.approx(steps * pace) for pace in (0.1, 0.1, 0.5 / 10, 0.5 / 10)]


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def shown(file: io.StringIO, monkeypatch: pytest.MonkeyPatch, **environment: str) -> str:
    """What a run of four packs writes there, in 80 columns."""
    for name, value in {"TERM": "xterm", **environment}.items():
        monkeypatch.setenv(name, value)
    tally = Tally(packs(), ["context", "width"])
    with Display(Screen(file, width=80), tally) as display:
        for pack in packs():
            display.started(pack)
            display.progressed(pack, half_way(pack, 1 / 3))
            display.progressed(pack, ended(pack))
            if display.live:
                display.live.refresh()
    return file.getvalue()


@pytest.mark.parametrize("environment", [{}, {"FORCE_COLOR": "1"}, {"TTY_COMPATIBLE": "1"}])
def test_without_a_terminal_each_pack_is_one_clean_line(
    monkeypatch: pytest.MonkeyPatch, environment: dict[str, str]
) -> None:
    text = shown(io.StringIO(), monkeypatch, **environment)
    *lines, best = text.splitlines()
    assert len(lines) == len(packs())
    assert "\x1b" not in text
    assert lines[-1].startswith("[8/8] 0:00 ")
    assert lines[-1].endswith("2 trials, accuracy 0.500; ETA 0:00")
    assert re.fullmatch(r"best 0.500 (binary|rotation) \(width=[48] seed=1\)", best)


def test_a_terminal_shows_no_less_than_a_pipe_and_keeps_it(monkeypatch: pytest.MonkeyPatch) -> None:
    text = shown(Terminal(), monkeypatch)
    for part in ("0:00 context=binary width=8: 2 trials, accuracy 0.500", "8 of 8 trials", "ETA 0:00", "trials/min"):
        assert part in text
    assert "best 0.500 " in text.rsplit("\x1b", 1)[-1]  # below what is cleared


def test_in_a_silent_minute_running_packs_say_how_far_they_are(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [100.0]
    monkeypatch.setattr("study.progress.time.monotonic", lambda: now[0])
    file, (first, second, *_) = io.StringIO(), packs()

    def said_after(seconds: float) -> list[str]:
        before = len(file.getvalue())
        now[0] += seconds
        display.look()
        return file.getvalue()[before:].splitlines()

    with Display(Screen(file, width=80), Tally(packs(), ["context", "width"])) as display:
        display.started(first)
        display.started(second)
        display.progressed(first, half_way(first, 2 / 3))
        assert said_after(59) == []
        labels = [display.tally.label(pack) for pack in (first, second)]
        assert said_after(1) == [f"1:00 {labels[0]}: 2 trials, task 2 of 3", f"1:00 {labels[1]}: 2 trials, task 0 of 3"]
        assert said_after(1) == []
        now[0] += 58
        display.progressed(first, ended(first))
        assert said_after(59) == []  # the pack that ended was news enough
        assert said_after(1) == [f"2:59 {labels[1]}: 2 trials, task 0 of 3"]


def test_of_many_running_packs_some_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("study.progress.MOST_LINES", 1)
    monkeypatch.setattr("study.progress.SECONDS_OF_SILENCE", 0)
    file = io.StringIO()
    with Display(Screen(file, width=80), Tally(packs(), ["context"])) as display:
        for pack in packs():
            display.started(pack)
        display.look()
    assert [line.partition(" ")[2] for line in file.getvalue().splitlines()][1:] == ["and 3 more packs"]


def test_a_dumb_terminal_gets_lines(monkeypatch: pytest.MonkeyPatch) -> None:
    text = shown(Terminal(), monkeypatch, TERM="dumb")
    assert "\x1b" not in text
    assert len(text.splitlines()) == len(packs()) + 1


USE = {"host": "a", "cpu": 0.5, "gpu": "", "gpu_busy": None, "gpu_bytes": 0, "gpu_total": 0}


def drawn(snapshot: Snapshot, width: int = 80) -> list[str]:
    """The live lines as a terminal shows them."""
    screen = Screen(Terminal(), width=width)
    return ["".join(segment.text for segment in line).rstrip() for line in screen.render_lines(lines(snapshot))]


def test_live_lines_fit_eighty_columns(now: list[float]) -> None:
    axes = ["context", "width", "lr", "num_tasks", "steps_per_task", "optimiser", "batch_size"]
    tally = Tally(packs(), axes)
    tally.started(packs()[0])
    now[0] += 2
    tally.progressed(packs()[0], ended(packs()[0]))
    tally.started(packs()[1])
    tally.progressed(packs()[1], half_way(packs()[1], 1 / 3, place="CPU", use=USE))
    text = drawn(tally.snapshot())
    assert [len(line) <= 80 for line in text] == [True] * 5
    assert "ETA" in text[0]
    assert text[1].endswith("0 failed · 80.0 trials/min")
    assert text[2] == "CPU 50%"
    assert text[3].startswith("best 0.500 ")
    assert text[3].endswith("…")
    assert text[4].startswith("CPU ━━━")
    assert "task 1 of 3 -- steps/s context=" in text[4]
    assert text[4].endswith("…")


def test_every_worker_has_a_bar_and_every_curve_its_best() -> None:
    packs = [
        RunningPack(label=f"width={n}", trials=n, task=n, tasks=50, share=n / 50, place=f"GPU {n}", steps_per_second=n)
        for n in range(1, 41)
    ]
    snapshot = Snapshot(
        total=900, ended=40, failed=0, diverged=0, share=0.1, elapsed=60, eta=3600, trials_per_minute=4, has_begun=True,
        best=[(f"curve {n}", 1 - n / 100, "seed=0") for n in range(10)], packs=packs, use=Use(cpu=1, gpu=0.5),
    )  # fmt: skip
    text = drawn(snapshot)
    assert text[0].endswith(" 10% · 1:00 · ETA 1:00:00")
    assert text[2] == "CPU 100% · GPU 50%"
    assert text[3] == "best 1.000 curve 0 (seed=0)"
    assert text[9] == "and 4 more curves"
    assert text[10].split()[:2] == ["GPU", "1"]
    assert text[25].endswith("task 16 of 50  16 steps/s width=16: 16 trials")
    assert text[26] == "and 24 more packs"
    assert Snapshot.from_json(snapshot.to_json()) == snapshot


def test_machines_and_gpus_count_once() -> None:
    gpu = {"gpu": "x", "gpu_busy": 0.5, "gpu_bytes": 3_000_000_000, "gpu_total": 80_000_000_000}
    use = Use.of([USE, USE | {"host": "b", "cpu": 1.0}, USE | gpu, USE | gpu, USE | gpu | {"gpu": "y"}])
    assert str(use) == "CPU 75% · GPU 50%, 6.0 of 160 GB"
    assert str(Use.of([USE | gpu | {"gpu_busy": None}])) == "CPU 50% · GPU 3.0 of 80 GB"
    assert str(Use.of([])) == ""


def test_workers_of_several_machines_are_named_with_them() -> None:
    tally = Tally(packs(), ["width"])
    places = []
    for pack, host in zip(packs(), ("a", "a", "b"), strict=False):
        tally.started(pack)
        assert tally.seen(pack).place == "..."
        tally.progressed(pack, half_way(pack, 1 / 3, place="GPU 0", use=USE | {"host": host}))
        places.append([seen.place for seen in tally.snapshot().packs])
    assert places == [["GPU 0"], ["GPU 0", "GPU 0"], ["a GPU 0", "a GPU 0", "b GPU 0"]]


def test_details_are_printed_if_wanted_and_logged_always(tmp_path: Path, now: list[float]) -> None:
    def run(**options: Any) -> list[str]:
        file = io.StringIO()
        with Display(Screen(file, width=80, log=tmp_path / "log", **options), Tally(packs()[:1], ["width"])) as display:
            display.started(packs()[0])
            display.progressed(packs()[0], half_way(packs()[0], 1 / 3, place="CPU"))
            display.progressed(packs()[0], ended(packs()[0]))
        return file.getvalue().splitlines()

    assert [line.split()[0] for line in run()] == ["[2/2]", "best"]
    lines = run(is_verbose=True)
    label = Tally(packs(), ["width"]).label(packs()[0])
    assert lines[:2] == [f"0:00 {label}: 2 trials begin", f"0:00 {label}: task 1 of 3, -- steps/s, CPU"]
    assert len(lines) == 4
    assert run(is_quiet=True) == []
    logged = (tmp_path / "log").read_text().splitlines()
    assert len(logged) == 3 * 4
    assert logged[0].endswith(f" {lines[0]}")
    assert datetime.fromisoformat(logged[0].split()[0]).tzinfo


def test_a_run_is_watched_by_what_it_keeps_in_its_store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    files = Files(str(tmp_path))
    tally = Tally(packs(), ["context"])
    tally.started(packs()[0])
    held = [True, True, True, True, True, False]
    monkeypatch.setattr("study.heartbeat.held", lambda files: True)
    monkeypatch.setattr("study.watch.held", lambda files: held.pop(0))
    monkeypatch.setattr("study.watch.time.sleep", lambda seconds: None)
    assert heard(files) is None
    with Heartbeat(files) as heartbeat:
        display = Display(Screen(io.StringIO()), tally, heartbeat)
        display.look()
        assert not heartbeat.is_due
        display.look()
        heartbeat._beside.wait()
        snapshot = heard(files)
        assert snapshot
        assert snapshot.packs == tally.snapshot().packs
        plain, terminal = io.StringIO(), Terminal()
        held[:] = [True, True, True, False]
        watch(files, Screen(plain, width=80))
        assert plain.getvalue() == f"{snapshot.headline.strip()} · {snapshot.counts}\n"
        monkeypatch.setenv("TERM", "xterm")
        held[:] = [True, True, False]
        watch(files, Screen(terminal, width=80))
        assert "task 0 of 3" in terminal.getvalue()
        (tmp_path / "live.json").write_text("{}")
        assert heard(files) is None
    assert not (tmp_path / "live.json").exists()

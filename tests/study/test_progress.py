import io

import pytest

from study.plan import Pack, make_packs, merge, trial_id
from study.progress import Display, Tally
from study.screen import Screen
from study.workers import this_machine
from tests.conftest import small_study


def packs() -> list[Pack]:
    axes = {"context": ["binary", "rotation"], "width": [4, 8]}  # four shapes
    return make_packs(merge(small_study(axes=axes).trials()))


def ended(pack: Pack, accuracy: float = 0.5) -> dict[str, object]:
    best = trial_id(pack.trials[-1])
    return {"fraction": 1.0, "done": True, "failed": False, "diverged": 0, "accuracy": accuracy, "best": best}


def test_a_tally_counts_and_keeps_the_best() -> None:
    first, second, third, _ = packs()
    tally = Tally(packs(), ["context", "width"])
    assert tally.eta() is None
    for pack in (first, second, third):
        tally.started(pack)
    assert "6 running" in tally.counts()
    tally.progressed(first, ended(first, 0.5))
    tally.progressed(second, ended(second, 0.75))
    tally.lost(third)
    assert (tally.done, tally.failed, tally.running) == (4, 2, {})
    assert tally.best is not None
    assert tally.best == (0.75, tally.label(second))
    assert tally.eta() is not None


def test_the_best_is_one_of_a_pack_of_several_contexts() -> None:
    pack = Pack(tuple(merge(small_study(axes={"context": ["none", "binary"]}, seeds=[0]).trials())))
    tally = Tally([pack], ["context"])
    tally.progressed(pack, ended(pack, 0.75))
    assert tally.best == (0.75, "context=binary")


def test_a_pack_that_diverged_is_never_the_best() -> None:
    first, second, *_ = packs()
    tally = Tally(packs(), ["context"])
    tally.progressed(first, {**ended(first, float("nan")), "diverged": 2})
    assert tally.best is None
    assert "2 diverged" in tally.counts()
    tally.progressed(second, ended(second, 0.5))
    assert tally.best is not None


def test_time_left_is_weighed_by_cost(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [100.0]
    monkeypatch.setattr("study.progress.time.monotonic", lambda: now[0])
    tally = Tally(packs(), [])
    tally.started(packs()[0])
    now[0] += 10
    here = this_machine()
    share = packs()[0].seconds(here) / 3 / sum(pack.seconds(here) for pack in packs())
    tally.progressed(packs()[0], {**ended(packs()[0]), "done": False, "fraction": 1 / 3})
    assert tally.eta() == pytest.approx(10 * (1 / share - 1))


def test_trials_a_minute_count_what_is_half_way(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [100.0]
    monkeypatch.setattr("study.progress.time.monotonic", lambda: now[0])
    tally = Tally(packs(), [], start=40.0)
    assert tally.rate() == "--"
    assert "starting workers" in tally.headline()
    tally.started(packs()[0])
    now[0] += 30
    tally.progressed(packs()[0], {**ended(packs()[0]), "done": False, "fraction": 0.5})
    assert tally.rate() == "2.0"  # one trial's worth of two in half a minute
    assert "1:30" in tally.headline()  # since the run began, as its last line says


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
            display.progressed(pack, {**ended(pack), "done": False, "fraction": 1 / 3})
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
    assert best.startswith("best 0.500 (context=")


def test_a_terminal_shows_no_less_than_a_pipe_and_keeps_it(monkeypatch: pytest.MonkeyPatch) -> None:
    text = shown(Terminal(), monkeypatch)
    for part in ("0:00 context=binary width=8: 2 trials, accuracy 0.500", "8 of 8 trials", "ETA 0:00", "trials/min"):
        assert part in text
    assert "best 0.500 (context=" in text.rsplit("\x1b", 1)[-1]  # below what is cleared


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
        display.progressed(first, {**ended(first), "done": False, "fraction": 2 / 3})
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


def test_live_lines_fit_eighty_columns() -> None:
    axes = ["context", "width", "lr", "num_tasks", "steps_per_task", "optimiser", "batch_size"]
    out = Terminal()
    screen = Screen(out, width=80)
    display = Display(screen, Tally(packs(), axes))
    display.tally.started(packs()[0])
    display.tally.progressed(packs()[0], ended(packs()[0]))
    display.tally.started(packs()[1])
    lines = screen.render_lines(display._lines(), pad=False)
    text = ["".join(segment.text for segment in line) for line in lines]
    assert [len(line) <= 80 for line in text] == [True] * 4
    assert "ETA" in text[0]
    assert "0 failed" in text[1]
    assert text[2].endswith("…")  # the best
    assert text[3].startswith("context=")

import io

import pytest
from rich.console import Console

from study.plan import Pack, make_packs, merge
from study.progress import Display, Tally, clock
from tests.conftest import small_study


def packs() -> list[Pack]:
    return make_packs(merge(small_study().trials()))


def ended(accuracy: float = 0.5) -> dict[str, object]:
    return {"fraction": 1.0, "done": True, "failed": False, "diverged": 0, "accuracy": accuracy}


def test_a_tally_counts_and_keeps_the_best() -> None:
    first, second, third, _ = packs()
    tally = Tally(packs(), ["context", "width"])
    assert tally.eta() is None
    for pack in (first, second, third):
        tally.started(pack)
    assert "6 running" in tally.summary()
    tally.progressed(first, ended(0.5))
    tally.progressed(second, ended(0.75))
    tally.lost(third)
    assert (tally.done, tally.failed, sum(tally.running.values())) == (4, 2, 0)
    assert tally.best is not None
    assert tally.best == (0.75, tally.label(second))
    assert tally.eta() is not None


def test_a_pack_that_diverged_is_never_the_best() -> None:
    first, second, *_ = packs()
    tally = Tally(packs(), ["context"])
    tally.progressed(first, {**ended(float("nan")), "diverged": 2})
    assert tally.best is None
    assert "2 diverged" in tally.summary()
    tally.progressed(second, ended(0.5))
    assert tally.best is not None


def test_time_left_is_weighed_by_cost(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [100.0]
    monkeypatch.setattr("study.progress.time.monotonic", lambda: now[0])
    tally = Tally(packs(), [])
    tally.started(packs()[0])
    now[0] += 10
    share = packs()[0].seconds("cpu") / 3 / sum(pack.seconds("cpu") for pack in packs())
    tally.progressed(packs()[0], {**ended(), "done": False, "fraction": 1 / 3})
    assert tally.eta() == pytest.approx(10 * (1 / share - 1))


def test_without_a_terminal_each_pack_is_one_clean_line() -> None:
    out = io.StringIO()
    console = Console(file=out, force_terminal=False)
    tally = Tally(packs(), ["context", "width"])
    with Display(console, tally) as display:
        for pack in packs():
            display.started(pack)
            display.progressed(pack, {**ended(), "done": False, "fraction": 1 / 3})
            display.progressed(pack, ended())
    lines = out.getvalue().splitlines()
    assert len(lines) == len(packs())
    assert "\x1b" not in out.getvalue()
    assert lines[-1].startswith("[8/8] 0:00 ")
    assert lines[-1].endswith("2 trials, accuracy 0.500; ETA 0:00")


def test_on_a_terminal_a_live_line_shows_counts_and_eta() -> None:
    out = io.StringIO()
    with Display(Console(file=out, force_terminal=True, width=200), Tally(packs(), ["context", "width"])) as display:
        display.started(packs()[0])
        display.progressed(packs()[0], ended())
        display.live.refresh()
    assert "2 done" in out.getvalue()
    assert "ETA" in out.getvalue()
    assert "best 0.500" in out.getvalue()


@pytest.mark.parametrize(("seconds", "text"), [(0, "0:00"), (61.4, "1:01"), (3661, "1:01:01")])
def test_durations_read_as_clocks(seconds: float, text: str) -> None:
    assert clock(seconds) == text

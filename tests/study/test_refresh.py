"""The report that is kept new during a run: written by another process, again and again, and at the end."""

import sys
import time
from pathlib import Path

import pytest

from study.refresh import Refresher

APPEND = "import sys; open(sys.argv[1], 'a').write('x')"


def written(place: Path) -> int:
    return len(place.read_text()) if place.exists() else 0


def until_written(place: Path, number: int) -> None:
    end = time.monotonic() + 60
    while written(place) < number and time.monotonic() < end:
        time.sleep(0.02)
    assert written(place) >= number


def interrupt_when_written(place: Path) -> None:
    until_written(place, 1)
    raise KeyboardInterrupt


def test_it_is_written_during_the_run_and_once_more_at_its_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("study.refresh.LEAST_PAUSE", 0)
    place = tmp_path / "report"
    with Refresher("out", 0.01, [sys.executable, "-c", APPEND, str(place)]) as refresher:
        until_written(place, 2)
    before = written(place)
    assert before >= 3
    assert refresher.error == ""
    time.sleep(0.1)
    assert written(place) == before


def test_a_short_run_has_its_report_at_the_end(tmp_path: Path) -> None:
    place = tmp_path / "report"
    with Refresher("out", 1000, [sys.executable, "-c", APPEND, str(place)]):
        pass
    assert written(place) == 1


def test_a_run_that_is_stopped_writes_no_more(tmp_path: Path) -> None:
    place = tmp_path / "report"
    with pytest.raises(KeyboardInterrupt), Refresher("out", 1000, [sys.executable, "-c", APPEND, str(place)]):
        raise KeyboardInterrupt
    assert written(place) == 0


def test_a_report_that_takes_long_is_given_up_when_the_run_is_stopped(tmp_path: Path) -> None:
    place = tmp_path / "begun"
    slow = f"open({str(place)!r}, 'w').write('x'); import time; time.sleep(600)"
    with pytest.raises(KeyboardInterrupt), Refresher("out", 0.01, [sys.executable, "-c", slow]):
        interrupt_when_written(place)


def test_an_error_ends_no_run_and_is_known(tmp_path: Path) -> None:
    with Refresher("out", 1000, [sys.executable, "-c", "raise SystemExit('error: no room')"]) as refresher:
        pass
    assert refresher.error == "error: no room"


def test_it_calls_psp_report_with_the_lowest_priority() -> None:
    command = Refresher("results/quickstart").command
    assert command[-3:] == ["study", "report", "results/quickstart"]
    assert command[:3] == ["nice", "-n", "19"]

import subprocess
import sys

import pytest

from study.screen import clock, words


@pytest.mark.parametrize(("seconds", "text"), [(0, "0:00"), (61.4, "1:01"), (3661, "1:01:01")])
def test_running_times_read_as_clocks(seconds: float, text: str) -> None:
    assert clock(seconds) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "1 s"),
        (7.2, "7 s"),
        (60, "1 min"),
        (125, "2 min 5 s"),
        (4325, "1 h 12 min"),
        (3 * 86_400 + 4 * 3600, "3 d 4 h"),
    ],
)
def test_estimates_read_in_units(seconds: float, text: str) -> None:
    assert words(seconds) == text


def test_a_reader_that_goes_away_loses_the_words_and_not_the_study() -> None:
    code = (
        "import sys; from study.screen import Screen; screen = Screen()\n"
        "for i in range(20_000): screen.say(f'line {i}')\n"
        "print('trained', file=sys.stderr)"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as run:
        assert run.stdout is not None
        assert run.stderr is not None
        assert run.stdout.readline() == "line 0\n"
        run.stdout.close()
        assert run.stderr.read() == "Nobody reads the output any more; the study goes on.\ntrained\n"
    assert run.returncode == 0

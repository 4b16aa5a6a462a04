"""What a call in Python says on its way, and how many threads it takes."""

import io

import pytest
import torch

from psp_core import TrialConfig, train
from psp_core import progress as module
from psp_core.progress import ProgressLine
from psp_core.training import PackTraining

CONFIG = TrialConfig(dataset="digits", width=4, num_tasks=2, steps_per_task=150, batch_size=8, lr=0.01)


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_a_line_says_how_far_it_is_and_how_long_it_takes() -> None:
    line = ProgressLine(num_trials=2, num_steps=5000, steps_per_task=1000, file=io.StringIO())
    assert line.text(1250, 10.0) == ("training 2 trials: step 1,250 of 5,000, task 2 of 5, 0:00:10, about 0:00:30 left")
    assert line.text(5000, 75.0) == "training 2 trials: step 5,000 of 5,000, task 5 of 5, 0:01:15"


def test_a_terminal_s_line_is_drawn_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "SECONDS_ON_A_TERMINAL", 0.0)
    monkeypatch.setenv("TERM", "xterm")
    file = Terminal()
    line = ProgressLine(1, 2000, 1000, file=file)
    line(1000)
    line(2000)
    line.close()
    _, first, second = file.getvalue().split("\r")
    assert first.startswith("training 1 trial: step 1,000")
    assert second.startswith("training 1 trial: step 2,000")
    assert len(second.rstrip("\n")) >= len(first)  # nothing of the longer line stays
    assert second.endswith("\n")


def test_a_terminal_is_told_the_end_however_soon_it_comes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "SECONDS_ON_A_TERMINAL", 1e9)
    monkeypatch.setenv("TERM", "xterm")
    file = Terminal()
    line = ProgressLine(1, 2000, 1000, file=file)
    line(1000)
    line(2000)
    line.close()
    assert file.getvalue().split("\r")[1:] == ["training 1 trial: step 2,000 of 2,000, task 2 of 2, 0:00:00\n"]


@pytest.mark.parametrize(("seconds", "expected"), [(0.0, 3), (1e9, 0)])
def test_a_file_gets_whole_lines_now_and_then(monkeypatch: pytest.MonkeyPatch, seconds: float, expected: int) -> None:
    monkeypatch.setattr(module, "SECONDS_ELSEWHERE", seconds)
    file = io.StringIO()
    line = ProgressLine(1, 3000, 1000, file=file)
    for step in (1000, 2000, 3000):
        line(step)
    line.close()
    assert file.getvalue().count("\n") == expected
    assert "\r" not in file.getvalue()


def test_a_reader_that_went_away_does_not_stop_training(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "SECONDS_ELSEWHERE", 0.0)
    line = ProgressLine(1, 3000, 1000, file=_Closed())
    line(1000)
    line.close()


class _Closed(io.StringIO):
    def write(self, text: str) -> int:
        raise BrokenPipeError


def test_training_tells_its_steps_within_tasks_too(capsys: pytest.CaptureFixture[str]) -> None:
    told: list[int] = []

    def tell(training: PackTraining) -> None:
        training.after_steps = told.append

    train([CONFIG], after_task=tell, progress=False)
    assert told == [250, 300]  # of the second task
    assert capsys.readouterr().err == ""


def test_progress_is_shown_unless_it_is_not_wanted(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "SECONDS_ELSEWHERE", 0.0)
    train([CONFIG])
    captured = capsys.readouterr()
    assert [line.partition(" of ")[0] for line in captured.err.splitlines()] == [
        f"training 1 trial: step {step}" for step in (100, 150, 250, 300)
    ]
    assert captured.out == ""
    train([CONFIG], progress=False)
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize("threads", [None, 3])
def test_threads_are_as_told_for_the_call_alone(threads: int | None) -> None:
    seen: list[int] = []
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        chosen = {} if threads is None else {"threads": threads}
        train([CONFIG], after_task=lambda training: seen.append(torch.get_num_threads()), **chosen)
        assert seen == [threads or 1] * 2
        assert torch.get_num_threads() == 2
        with pytest.raises(RuntimeError, match="stop"):
            train([CONFIG], after_task=_stop)
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)


def _stop(training: PackTraining) -> None:
    raise RuntimeError("stop")


def test_no_threads_at_all_are_refused() -> None:
    with pytest.raises(ValueError, match="threads=0 must be at least 1"):
        train([CONFIG], threads=0)

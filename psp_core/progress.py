"""Prints the progress of a training on standard error, as plain text."""

import os
import sys
import time
from datetime import timedelta
from typing import Final, TextIO

from psp_core.messages import plural

SECONDS_ON_A_TERMINAL: Final = 0.2  # between two updates of the line
SECONDS_ELSEWHERE: Final = 10.0  # between two lines in a file, a pipe or a notebook


class ProgressLine:
    """One line that a terminal redraws; elsewhere a new line every ten seconds, so a shorter training prints none.

    Args:
        num_trials: trials that train together.
        num_steps: optimiser steps of each trial.
        steps_per_task: optimiser steps of each task.
        file: the output; standard error by default.
    """

    def __init__(self, num_trials: int, num_steps: int, steps_per_task: int, file: TextIO | None = None) -> None:
        """Print nothing yet."""
        self.num_trials, self.num_steps, self.steps_per_task = num_trials, num_steps, steps_per_task
        self._file = file or sys.stderr
        self._is_live = self._file.isatty() and os.environ.get("TERM") != "dumb"
        self._start = self._last = time.monotonic()
        self._shown = ""

    def __call__(self, step: int) -> None:
        """Print that `step` steps are taken, unless a line was printed a moment ago."""
        now = time.monotonic()
        is_last = self._is_live and step == self.num_steps
        if now - self._last < (SECONDS_ON_A_TERMINAL if self._is_live else SECONDS_ELSEWHERE) and not is_last:
            return
        self._last = now
        self._show(self.text(step, now - self._start))

    def text(self, step: int, seconds: float) -> str:
        """The line after `step` steps and `seconds`."""
        task = min(step, self.num_steps - 1) // self.steps_per_task + 1
        num_tasks, to_do = self.num_steps // self.steps_per_task, self.num_steps - step
        left = f", about {_clock(seconds * to_do / step)} left" if step and to_do else ""
        return (
            f"training {plural(self.num_trials, 'trial')}: step {step:,} of {self.num_steps:,}, task {task:,} of "
            f"{num_tasks:,}, {_clock(seconds)}{left}"
        )

    def close(self) -> None:
        """Keep the terminal's line, and move to the next one."""
        if self._is_live and self._shown:
            self._write("\n")

    def _show(self, text: str) -> None:
        self._write(f"\r{text.ljust(len(self._shown))}" if self._is_live else f"{text}\n")
        self._shown = text

    def _write(self, text: str) -> None:
        try:
            self._file.write(text)
            self._file.flush()
        except (OSError, ValueError):  # the reader is gone, or the file is closed: training goes on
            self._is_live = False


def _clock(seconds: float) -> str:
    return str(timedelta(seconds=round(seconds)))  # h:mm:ss

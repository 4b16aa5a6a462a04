"""Where a run prints: a terminal, a pipe or a file, whose reader may go away."""

import contextlib
import os
import sys
from contextlib import AbstractContextManager, nullcontext
from datetime import datetime
from pathlib import Path
from typing import TextIO

from rich.console import Console


class Screen(Console):
    """Standard output of a run, and its log file.

    Only terminals get colours and a live display, whatever FORCE_COLOR says. When the reader goes away, as `head` does,
    the output ends and the study goes on.

    Args:
        file: the output; standard output by default.
        width: columns; the terminal's width by default.
        is_quiet: whether nothing is printed; the log has everything all the same.
        is_verbose: whether details are printed.
        log: a file to which every line is added, details too, each with its time.

    Raises:
        OSError: the log cannot be written.
    """

    def __init__(
        self,
        file: TextIO | None = None,
        width: int | None = None,
        *,
        is_quiet: bool = False,
        is_verbose: bool = False,
        log: Path | None = None,
    ) -> None:
        """Find out whether the output is a terminal."""
        isatty = (file or sys.stdout).isatty()
        super().__init__(file=file, width=width, force_terminal=isatty, highlight=False, markup=False, quiet=is_quiet)
        self.is_verbose = is_verbose
        self._log = log
        if log:
            log.open("a").close()

    @property
    def is_live(self) -> bool:
        """Whether lines can be drawn again: on a terminal, unless TERM says that it cannot."""
        return self.is_terminal and not self.is_dumb_terminal and not self.quiet

    def say(self, text: str) -> None:
        """Print one plain line, however long."""
        self._note(text)
        self.print(text, soft_wrap=True)

    def detail(self, text: str) -> None:
        """Print one plain line if details are wanted."""
        self._note(text)
        if self.is_verbose:
            self.print(text, soft_wrap=True)

    def _note(self, text: str) -> None:
        if self._log:
            line = f"{datetime.now().astimezone().isoformat(timespec='seconds')} {text}\n"
            with contextlib.suppress(OSError), self._log.open("a", encoding="utf-8") as file:  # a full disk costs lines
                file.write(line)

    def waiting(self, text: str) -> AbstractContextManager[object]:
        """Say what is waited for: in a live line, or in a plain line where lines cannot be drawn again."""
        if self.is_live:
            return self.status(text)
        self.say(f"{text} ...")
        return nullcontext()

    def on_broken_pipe(self) -> None:
        """Print nothing more, because the reader is gone; the study goes on."""
        self.quiet = True
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        print("Nobody reads the output any more; the study goes on.", file=sys.stderr)


def clock(seconds: float) -> str:
    """A running time as m:ss or h:mm:ss."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


def words(seconds: float) -> str:
    """An estimated time in its largest two units, such as `7 s`, `2 min 5 s`, `1 h 12 min` or `3 d 4 h`."""
    whole = max(1, round(seconds))
    for unit, smaller, size, small in (("d", "h", 86_400, 3_600), ("h", "min", 3_600, 60), ("min", "s", 60, 1)):
        if whole >= size:
            rest = whole % size // small
            return f"{whole // size} {unit} {rest} {smaller}" if rest else f"{whole // size} {unit}"
    return f"{whole} s"

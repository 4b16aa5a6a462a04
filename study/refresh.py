"""Keeps a store's report new while its study runs: a process of its own writes it, after everything else's turn."""

import os
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from types import TracebackType
from typing import Final, Self

SECONDS: Final = 60.0
LEAST_PAUSE: Final = 20  # times as long as it took to write


class Refresher:
    """A context in which the report is written again and again, and once more at its end.

    Training never waits for the report, and an error there ends no run: another process writes, with the lowest
    priority and one thread. Between two reports lie `seconds`, and LEAST_PAUSE times the time that the last one took.
    When an exception ends the context, the report stays as it is.

    Args:
        out: the trial store.
        seconds: the shortest pause.
        command: what writes the report. [default: psp report OUT]

    Attributes:
        error: why the last report could not be written; empty where it was.
    """

    def __init__(self, out: str, seconds: float = SECONDS, command: Sequence[str] = ()) -> None:
        """Write nothing yet."""
        polite = ["nice", "-n", "19"] if shutil.which("nice") else []
        self.command = [*polite, *(command or (sys.executable, "-m", "study", "report", out))]
        self.seconds = seconds
        self.error = ""
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._run, name="report", daemon=True)

    def __enter__(self) -> Self:
        """Begin."""
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Write the last report, unless an exception ended the context."""
        self._end.set()
        self._thread.join()
        if kind is None:
            self._write(None)

    def _run(self) -> None:
        pause = self.seconds
        while not self._end.wait(pause):
            begun = time.monotonic()
            self._write(self._end)
            pause = max(self.seconds, LEAST_PAUSE * (time.monotonic() - begun))

    def _write(self, end: threading.Event | None) -> None:
        """Write one report; when the event comes, give up."""
        process = subprocess.Popen(
            self.command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ, "OMP_NUM_THREADS": "1"},
            start_new_session=True,  # Ctrl-C is for the run, which decides
        )
        while True:
            try:
                _, said = process.communicate(timeout=0.2)
                break
            except subprocess.TimeoutExpired:
                if end and end.is_set():
                    process.kill()
        if process.returncode >= 0:
            self.error = said.strip().splitlines()[-1] if process.returncode and said.strip() else ""

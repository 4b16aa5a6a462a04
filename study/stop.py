"""Why a run ends before everything is trained: a signal, its time, its storage or its cluster."""

import contextlib
import signal
import threading
import time
from collections.abc import Iterator
from types import FrameType
from typing import Final

SIGNALS: Final = tuple(
    getattr(signal, name)
    for name in ("SIGINT", "SIGTERM", "SIGHUP")  # Ctrl-C; Slurm, Docker, systemd; a terminal that closes
    if hasattr(signal, name)
)


class ClusterLost(Exception):
    """A process of Ray that this run needs is gone; the message says which."""


class Stop:
    """Says whether a run must end, and why; a context manager that handles signals.

    In a loop that asks `due` (see `polled`), the first signal ends the loop in order, so that workers keep the state of
    their training. Elsewhere, and at the second signal, KeyboardInterrupt is raised. Later signals do nothing. A signal
    that was ignored before, as under nohup, stays ignored.

    Attributes:
        deadline: when the run's time is up, by `time.monotonic`; None for no limit.
        signal: the first signal that arrived.
        out_of_time: whether the run ended at its deadline.
        refused: the storage's error, once no further attempt can succeed.
        lost: the process of Ray that is gone.
    """

    def __init__(self, deadline: float | None = None) -> None:
        """Nothing has happened yet."""
        self.deadline = deadline
        self.signal: int | None = None
        self.out_of_time = False
        self.refused: str | None = None
        self.lost: str | None = None
        self._polled = self._raised = False
        self._before: dict[int, object] = {}

    def __enter__(self) -> "Stop":
        """Handle signals from here on."""
        if threading.current_thread() is threading.main_thread():
            handlers = {number: signal.getsignal(number) for number in SIGNALS}
            self._before = {number: handler for number, handler in handlers.items() if handler != signal.SIG_IGN}
        self.listen()
        return self

    def listen(self) -> None:
        """Handle signals again, after a library installed its own handlers."""
        for number in self._before:
            signal.signal(number, self._received)

    def __exit__(self, *error: object) -> None:
        """Restore the handlers of before."""
        for number, handler in self._before.items():
            signal.signal(number, handler)  # type: ignore[arg-type]

    @contextlib.contextmanager
    def polled(self) -> Iterator[None]:
        """Inside, a loop calls `due` again and again.

        Raises:
            KeyboardInterrupt: at the end, if a signal arrived.
        """
        self._polled = True
        try:
            yield
        finally:
            self._polled = False
        if self.signal:
            self._raise()

    def due(self) -> bool:
        """Whether to end in order now.

        Raises:
            ClusterLost: the cluster is gone, so nothing can end in order.
        """
        if self.lost:
            raise ClusterLost(self.lost)
        if self.deadline is not None and time.monotonic() >= self.deadline:
            self.out_of_time = True
        return bool(self.signal or self.refused or self.out_of_time)

    def received(self, number: int) -> None:
        """Take a signal.

        Raises:
            KeyboardInterrupt: no loop asks `due`, or this is the second signal.
        """
        first, self.signal = self.signal is None, self.signal or number
        if not (self._raised or (first and self._polled)):
            self._raise()

    def _raise(self) -> None:
        self._raised = True
        raise KeyboardInterrupt

    def _received(self, number: int, frame: FrameType | None) -> None:
        self.received(number)

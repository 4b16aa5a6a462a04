"""Why a run is to end before all is done: a signal, its time, its storage, its cluster."""

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
    """Ray, or the part of it that this run needs, is gone; the message says which."""


class Stop:
    """Says whether a run is to end, and why; a context manager, in which signals are heard.

    Where a loop asks (`polled`, then `due`), the first signal ends it in order, so that workers keep the state
    of what they train. Elsewhere, and at the second signal, KeyboardInterrupt is raised; what comes after that
    disturbs nothing. A signal that was ignored before, as under nohup, stays ignored.

    Attributes:
        deadline: when the run's time is up, as `time.monotonic` counts; None for no end.
        signal: the first signal that came.
        out_of_time: whether the run ended at its deadline.
        refused: what the storage said when it became of no use to go on.
        lost: what of Ray is gone.
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
        """Hear signals from here on."""
        if threading.current_thread() is threading.main_thread():
            handlers = {number: signal.getsignal(number) for number in SIGNALS}
            self._before = {number: handler for number, handler in handlers.items() if handler != signal.SIG_IGN}
        self.listen()
        return self

    def listen(self) -> None:
        """Hear signals again, after a library took them."""
        for number in self._before:
            signal.signal(number, self._received)

    def __exit__(self, *error: object) -> None:
        """As it was before."""
        for number, handler in self._before.items():
            signal.signal(number, handler)  # type: ignore[arg-type]

    @contextlib.contextmanager
    def polled(self) -> Iterator[None]:
        """Within, somebody asks `due` all the time.

        Raises:
            KeyboardInterrupt: at the end, if a signal came.
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
            ClusterLost: there is nobody left who could end in order.
        """
        if self.lost:
            raise ClusterLost(self.lost)
        if self.deadline is not None and time.monotonic() >= self.deadline:
            self.out_of_time = True
        return bool(self.signal or self.refused or self.out_of_time)

    def received(self, number: int) -> None:
        """Take a signal.

        Raises:
            KeyboardInterrupt: nobody asks, or it is the second.
        """
        first, self.signal = self.signal is None, self.signal or number
        if not (self._raised or (first and self._polled)):
            self._raise()

    def _raise(self) -> None:
        self._raised = True
        raise KeyboardInterrupt

    def _received(self, number: int, frame: FrameType | None) -> None:
        self.received(number)

"""The snapshot that a run keeps in its store, so that others can watch it."""

import contextlib
import math
import time
from typing import Final

from study.beside import Beside
from study.files import Files
from study.lease import held
from study.snapshot import Snapshot

FILE: Final = "live.json"
SECONDS: Final = 2.0  # between two snapshots in a folder
SECONDS_ELSEWHERE: Final = 10.0  # on an object store, which counts requests


class Heartbeat:
    """Writes snapshots of a run; a context manager, which removes the file in the end.

    A storage that is slow or refuses costs snapshots and nothing else.
    """

    def __init__(self, files: Files) -> None:
        """Write nothing yet."""
        self._files, self._beside, self._last = files, Beside(), -math.inf
        self._seconds = SECONDS if files.folder else SECONDS_ELSEWHERE

    @property
    def is_due(self) -> bool:
        """Whether it is time for the next one."""
        return time.monotonic() - self._last >= self._seconds and not self._beside.is_busy

    def beat(self, now: Snapshot) -> None:
        """Write a snapshot while the run goes on."""
        self._last = time.monotonic()
        content = now.to_json().encode()

        def write() -> None:
            with contextlib.suppress(OSError):
                self._files.write(FILE, content, patiently=False)

        self._beside.begin(write)

    def __enter__(self) -> "Heartbeat":
        """Begin."""
        return self

    def __exit__(self, *error: object) -> None:
        """Remove the last one."""
        self._beside.wait()
        with contextlib.suppress(OSError):
            self._files.delete(FILE)


def heard(files: Files) -> Snapshot | None:
    """The last snapshot of the run that writes into a store now; None where none does, or none is there yet."""
    if not held(files):
        return None
    try:
        return Snapshot.from_json(files.read(FILE))
    except (FileNotFoundError, ValueError):
        return None

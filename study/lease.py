"""One driver for each store: a second one is refused while the first is alive."""

import contextlib
import json
import os
import secrets
import socket
import threading
import time
from typing import Any, Final

from study.files import Files, StorageError
from study.spec import StudyError

FILE: Final = "driver.json"
RENEW_SECONDS: Final = 10
STALE_SECONDS: Final = 60  # a driver on another machine counts as dead after that long without a renewal


class Lease:
    """The right to write into a store; a context manager.

    A driver renews `driver.json` every ten seconds. The lease of a killed driver is void at once on the same machine,
    and after a minute on another. Object stores have no locks: of two drivers that begin in the same moment, the last
    to write has the lease, and `confirm` fails in the other.
    """

    def __init__(self, files: Files) -> None:
        """Claim nothing yet."""
        self._files = files
        self.id = secrets.token_hex(8)
        self._over = threading.Event()
        self._renewer = threading.Thread(target=self._renew, daemon=True)

    def __enter__(self) -> "Lease":
        """Claim the store.

        Raises:
            StudyError: another driver is alive.
        """
        other = self._read()
        if other and _alive(other):
            raise _refusal(self._files, other)
        self._write()
        self._renewer.start()
        return self

    def confirm(self) -> None:
        """Make sure, a moment later, that no other driver claimed the store at the same time.

        Raises:
            StudyError: another driver did.
        """
        found = self._read()
        if found and found["id"] != self.id:
            raise _refusal(self._files, found)

    def __exit__(self, *error: object) -> None:
        """Release the store."""
        self._over.set()
        self._renewer.join()
        with contextlib.suppress(StorageError):  # other drivers here may start at once, elsewhere in a minute
            found = self._read()
            if found and found["id"] == self.id:
                self._files.delete(FILE)

    def _renew(self) -> None:
        while not self._over.wait(RENEW_SECONDS):
            try:
                self._write()
            except OSError:
                continue  # the storage refuses for now; workers report it where it matters

    def _write(self) -> None:
        content = {"id": self.id, "host": socket.gethostname(), "pid": os.getpid(), "updated": time.time()}
        self._files.write(FILE, json.dumps(content).encode())

    def _read(self) -> dict[str, Any] | None:
        try:
            content = json.loads(self._files.read(FILE))
            return content if {"id", "host", "pid", "updated"} <= content.keys() else None
        except (FileNotFoundError, ValueError, AttributeError):
            return None


def held(files: Files) -> bool:
    """Whether a driver is writing into this store now."""
    found = Lease(files)._read()
    return found is not None and _alive(found)


def _alive(other: dict[str, Any]) -> bool:
    if time.time() - other["updated"] > STALE_SECONDS:
        return False
    if other["host"] != socket.gethostname():
        return True
    try:
        os.kill(int(other["pid"]), 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return int(other["pid"]) != os.getpid()


def _refusal(files: Files, other: dict[str, Any]) -> StudyError:
    return StudyError(
        f"out={files.shown!r} is being written by another psp run (process {other['pid']} on {other['host']}). Wait "
        f"until it ends, or stop it; if it is dead, this works {STALE_SECONDS} seconds after its last sign of life."
    )

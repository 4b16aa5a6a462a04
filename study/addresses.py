"""Finds out within seconds whether a Ray cluster answers at an address; Ray itself tries for minutes."""

import contextlib
import os
import socket
import threading
from collections.abc import Callable, Mapping
from typing import Final

SECONDS: Final = 10.0  # for an answer
_HTTP2_PREFACE: Final = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes([0, 0, 0, 4, 0, 0, 0, 0, 0])
_SETTINGS: Final = 4  # the frame that an HTTP/2 server begins with

WATCH_SECONDS: Final = 0.5  # between two checks, and for an answer
REFUSALS: Final = 2  # until a process counts as gone: Ray may end this process within seconds
SILENCES: Final = 50  # until a machine counts as gone: Ray itself waits a minute


def split(address: str) -> tuple[str, int]:
    """The host and the port of HOST:PORT.

    Raises:
        ValueError: the address has another form; the message says what to write.
    """
    if address.startswith("ray://"):
        raise ValueError("a Ray client's address; use the head's HOST:PORT (of `ray start`, port 6379)")
    if "://" in address:
        raise ValueError("a web page's address, such as the dashboard's; use the head's HOST:PORT (port 6379)")
    host, _, port = address.rpartition(":")
    if not host or not port.isdecimal() or int(port) > 65535:
        raise ValueError("neither 'auto' nor HOST:PORT, such as 10.0.0.1:6379")
    return host.strip("[]"), int(port)


def reach(host: str, port: int) -> None:
    """Check that a Ray head is there: a server that speaks HTTP/2, as gRPC does.

    Raises:
        ConnectionError: no answer, or an answer of another server.
    """
    try:
        with socket.create_connection((host, port), timeout=SECONDS) as connection:
            if os.environ.get("RAY_USE_TLS", "0") in ("0", ""):
                connection.sendall(_HTTP2_PREFACE)
                answer = connection.recv(9)
                if len(answer) < 4 or answer[3] != _SETTINGS:
                    raise ConnectionError("what answers there is no Ray head")
    except TimeoutError:
        raise ConnectionError(f"no answer within {SECONDS:g} seconds") from None
    except ConnectionResetError:
        raise ConnectionError("what answers there is no Ray head") from None
    except OSError as error:
        raise ConnectionError(str(error)) from None


class Watch:
    """Checks twice a second that the processes that a run needs still listen; a context manager.

    Args:
        places: host and port of each process, by its name.
        lost: called once, from another thread, with the name of a process that is gone.
    """

    def __init__(self, places: Mapping[str, tuple[str, int]], lost: Callable[[str], None]) -> None:
        """Check nothing yet."""
        self._places = places
        self._lost = lost
        self._patience = dict.fromkeys(places, 1.0)
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._look, daemon=True)

    def __enter__(self) -> "Watch":
        """Begin."""
        self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        """End."""
        self._over.set()

    def _look(self) -> None:
        while not self._over.wait(WATCH_SECONDS):
            for name, place in self._places.items():
                fault = self._fault(place)
                self._patience[name] = self._patience[name] - fault if fault else 1.0
                if self._patience[name] <= 1e-9:
                    self._lost(name)
                    return

    @staticmethod
    def _fault(place: tuple[str, int]) -> float:
        """The share of patience that a missing answer uses up; 0 for an answer."""
        try:
            with contextlib.closing(socket.create_connection(place, timeout=WATCH_SECONDS)):
                return 0.0
        except ConnectionRefusedError:
            return 1 / REFUSALS
        except OSError:
            return 1 / SILENCES

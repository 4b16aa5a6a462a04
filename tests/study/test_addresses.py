import socket
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from study import addresses
from study.addresses import Watch, reach, split
from tests.clusters import free_port

SETTINGS = bytes([0, 0, 0, 4, 0, 0, 0, 0, 0])


@pytest.fixture
def listener() -> Iterator[socket.socket]:
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server


@pytest.mark.parametrize(
    ("address", "found"),
    [("10.0.0.1:6379", ("10.0.0.1", 6379)), ("head:6379", ("head", 6379)), ("[::1]:6379", ("::1", 6379))],
)
def test_an_address_is_a_host_and_a_port(address: str, found: tuple[str, int]) -> None:
    assert split(address) == found


@pytest.mark.parametrize(
    ("address", "message"),
    [
        ("foo", "neither 'auto' nor HOST:PORT"),
        ("", "neither 'auto' nor HOST:PORT"),
        (":6379", "neither 'auto' nor HOST:PORT"),
        ("head:", "neither 'auto' nor HOST:PORT"),
        ("head:99999", "neither 'auto' nor HOST:PORT"),
        ("http://head:8265", "a web page's address"),
        ("ray://head:10001", "a Ray client's address"),
    ],
)
def test_another_address_is_refused_with_what_to_write(address: str, message: str) -> None:
    with pytest.raises(ValueError, match=f"{message}.*HOST:PORT|{message}"):
        split(address)


@pytest.mark.parametrize(
    ("answer", "message"),
    [(SETTINGS, None), (b"HTTP/1.1 400 Bad Request\r\n", "is no Ray head"), (b"", "is no Ray head")],
)
def test_a_head_is_told_from_what_else_listens(listener: socket.socket, answer: bytes, message: str | None) -> None:
    def serve() -> None:
        connection, _ = listener.accept()
        with connection:
            connection.recv(100)
            connection.sendall(answer)

    with ThreadPoolExecutor() as pool:
        served = pool.submit(serve)
        if message is None:
            reach(*listener.getsockname())
        else:
            with pytest.raises(ConnectionError, match=message):
                reach(*listener.getsockname())
        served.result()


def test_nobody_and_somebody_silent_are_no_heads(listener: socket.socket, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ConnectionError, match="refused"):
        reach("127.0.0.1", free_port())
    monkeypatch.setattr(addresses, "SECONDS", 0.1)
    with pytest.raises(ConnectionError, match=r"no answer within 0\.1 seconds"):
        reach(*listener.getsockname())


def test_a_watch_tells_once_what_is_gone(listener: socket.socket, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(addresses, "WATCH_SECONDS", 0.01)
    told: list[str] = []
    gone = threading.Event()

    def lost(name: str) -> None:
        told.append(name)
        gone.set()

    with Watch({"head": listener.getsockname(), "other": ("127.0.0.1", free_port())}, lost):
        assert gone.wait(30)
    assert told == ["other"]


def test_a_watch_forgives_what_comes_back(monkeypatch: pytest.MonkeyPatch) -> None:
    """Refused as often as it may be, then there, again and again."""
    faults = iter([*[1 / addresses.REFUSALS] * (addresses.REFUSALS - 1), 0.0] * 5)
    enough = threading.Event()

    def fault(place: tuple[str, int]) -> float:
        left = next(faults, None)
        if left is None:
            enough.set()
        return left or 0.0

    monkeypatch.setattr(addresses, "WATCH_SECONDS", 0.001)
    monkeypatch.setattr(Watch, "_fault", staticmethod(fault))
    told: list[str] = []
    with Watch({"head": ("127.0.0.1", 1)}, told.append):
        assert enough.wait(30)
    assert told == []

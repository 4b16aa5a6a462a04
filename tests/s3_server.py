"""An S3 server on loopback that fails now and then: python -m tests.s3_server PORT SEED RATE.

Moto speaks the protocol; in front of it, a share of the requests is answered with an error or not for
seconds. POST /faults?rate=0.5 changes the share while it runs. Nobody may look for the bucket itself, as where a
user has rights to a part of it only.
"""

import contextlib
import random
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from moto.server import DomainDispatcherApplication, create_backend_app
from werkzeug.serving import run_simple

from tests.clusters import PATIENCE, free_port, wait_for_port


class Faulty:
    """A WSGI application in front of another."""

    def __init__(self, application: Callable[..., Iterable[bytes]], seed: int, rate: float) -> None:
        self.application = application
        self.random = random.Random(seed)
        self.rate = rate
        self.lock = threading.Lock()

    def __call__(self, environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        if environ["PATH_INFO"] == "/faults":
            self.rate = float(environ["QUERY_STRING"].removeprefix("rate="))
            start_response("200 OK", [])
            return [b""]
        if environ["REQUEST_METHOD"] == "HEAD" and "/" not in environ["PATH_INFO"].strip("/"):
            start_response("403 Forbidden", [])
            return [b""]
        with self.lock:
            chance, kind = self.random.random(), self.random.choice(["500 Internal Server Error", "503 Slow Down", ""])
        if chance < self.rate:
            environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
            if kind:
                start_response(kind, [("Content-Type", "application/xml")])
                return [f"<Error><Code>{kind}</Code></Error>".encode()]
            time.sleep(4)  # longer than clients wait
        return self.application(environ, start_response)


class S3:
    """A bucket on such a server.

    Attributes:
        endpoint: the server's address.
        uri: a place in the bucket that says by itself where its server is.
    """

    def __init__(self, port: int) -> None:
        self.endpoint = f"http://127.0.0.1:{port}"
        self.uri = f"s3://bucket/studies/small?endpoint_override=127.0.0.1%3A{port}&scheme=http&region=us-east-1"

    def fail(self, rate: float) -> None:
        """Answer this share of the requests with errors from now on."""
        urllib.request.urlopen(f"{self.endpoint}/faults?rate={rate}", data=b"", timeout=PATIENCE).close()


@contextlib.contextmanager
def s3_server() -> Iterator[S3]:
    """A server in a process of its own."""
    port = free_port()
    command = [sys.executable, "-m", "tests.s3_server", str(port), "1", "0"]
    server = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    s3 = S3(port)
    try:
        wait_for_port(port)
        make = urllib.request.Request(f"{s3.endpoint}/bucket", method="PUT")
        urllib.request.urlopen(make, timeout=PATIENCE).close()
        yield s3
    finally:
        server.kill()
        server.wait()


if __name__ == "__main__":
    port, seed, rate = int(sys.argv[1]), int(sys.argv[2]), float(sys.argv[3])
    backend = DomainDispatcherApplication(create_backend_app)
    run_simple("127.0.0.1", port, Faulty(backend, seed, rate), threaded=True)

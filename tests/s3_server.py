"""An S3 server on loopback that fails now and then: python -m tests.s3_server PORT SEED RATE.

Moto speaks the protocol; in front of it, a share of the requests is answered with an error or not for
seconds. POST /faults?rate=0.5 changes the share while it runs.
"""

import random
import sys
import threading
import time
from collections.abc import Callable, Iterable
from typing import Any

from moto.server import DomainDispatcherApplication, create_backend_app
from werkzeug.serving import run_simple


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
        with self.lock:
            chance, kind = self.random.random(), self.random.choice(["500 Internal Server Error", "503 Slow Down", ""])
        if chance < self.rate:
            environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
            if kind:
                start_response(kind, [("Content-Type", "application/xml")])
                return [f"<Error><Code>{kind}</Code></Error>".encode()]
            time.sleep(4)  # longer than clients wait
        return self.application(environ, start_response)


if __name__ == "__main__":
    port, seed, rate = int(sys.argv[1]), int(sys.argv[2]), float(sys.argv[3])
    backend = DomainDispatcherApplication(create_backend_app)
    run_simple("127.0.0.1", port, Faulty(backend, seed, rate), threaded=True)

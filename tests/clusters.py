"""Real Ray clusters on this machine, for tests: nodes on loopback addresses that can be killed."""

import contextlib
import json
import os
import secrets
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import IO, Any, Final

import psutil

PATIENCE: Final = 1200
"""Seconds after which a test gives up what would never end. How fast a machine is, no test says."""

# A node that is gone is known after seconds, not Ray's minute.
QUICK_TO_NOTICE = {
    "health_check_initial_delay_ms": 1000,
    "health_check_period_ms": 500,
    "health_check_failure_threshold": 4,
}


def free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


class Cluster:
    """A head at 127.0.0.1 and any number of further nodes at addresses of their own, all with one CPU."""

    def __init__(self) -> None:
        self.port = free_port()
        self.authentication = {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": secrets.token_hex(32)}
        self.environment = os.environ | self.authentication
        self.nodes: dict[str, subprocess.Popen[bytes]] = {}

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.port}"

    def start_head(self) -> None:
        system = json.dumps(QUICK_TO_NOTICE)
        self._start(
            "127.0.0.1", "--head", f"--port={self.port}", "--include-dashboard=false", f"--system-config={system}"
        )
        wait_for_port(self.port)

    def start_node(self, ip: str, before: Sequence[str] = ()) -> None:
        """Start another node; `before` is a command that runs the rest of its command line."""
        self._start(ip, f"--address={self.address}", before=before)

    def wait_for_nodes(self, number: int) -> None:
        """Until so many nodes have started all that they start.

        Tune gives a finished worker the pack for which another is still starting, and stops that one: with
        short packs, a node that comes late never gets one.
        """
        wait_until(lambda: sum(bool(named(node, "RuntimeEnvAgent")) for node in self.nodes.values()) >= number)
        time.sleep(3)  # they register

    def kill(self, ip: str) -> None:
        """As if the machine had lost its power: every process of that node, at once."""
        node = self.nodes.pop(ip)
        for process in (psutil.Process(node.pid), *processes_under(node)):
            with contextlib.suppress(psutil.NoSuchProcess):
                process.kill()
        node.wait()

    def workers(self) -> list[psutil.Process]:
        """The processes that train, or wait to, on all nodes."""
        return [worker for ip in self.nodes for worker in self.workers_on(ip)]

    def workers_on(self, ip: str) -> list[psutil.Process]:
        """Those of one node."""
        return named(self.nodes[ip], "ResourceTrainable")  # Tune's name for what holds a PackTrainable

    def stop(self) -> None:
        for ip in list(self.nodes):
            self.kill(ip)

    def _start(self, ip: str, *options: str, before: Sequence[str] = ()) -> None:
        ray = Path(sys.executable).with_name("ray")
        common = [
            "--block",
            f"--node-ip-address={ip}",
            "--num-cpus=1",
            "--num-gpus=0",
            "--object-store-memory=200000000",
        ]
        self.nodes[ip] = subprocess.Popen(
            [*before, ray, "start", *options, *common],
            env=self.environment,
            start_new_session=True,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )


def processes_under(process: subprocess.Popen[Any]) -> list[psutil.Process]:
    """All that a process has started, and what those have."""
    with contextlib.suppress(psutil.NoSuchProcess):
        return psutil.Process(process.pid).children(recursive=True)
    return []


def named(process: subprocess.Popen[Any], name: str) -> list[psutil.Process]:
    """Those of them whose command line has this in it."""
    found = []
    for child in processes_under(process):
        with contextlib.suppress(psutil.Error):
            if name in "".join(child.cmdline()):
                found.append(child)
    return found


@contextlib.contextmanager
def two_nodes() -> Iterator[Cluster]:
    """A head and one more node."""
    cluster = Cluster()
    try:
        cluster.start_head()
        cluster.start_node("127.0.0.2")
        cluster.wait_for_nodes(2)
        yield cluster
    finally:
        cluster.stop()


def psp(
    *arguments: str, environment: dict[str, str] | None = None, output: IO[str] | int = subprocess.PIPE
) -> subprocess.Popen[str]:
    """The program, in a process group of its own, hearing signals as in a terminal, also under nohup.

    What a test leaves of it ends with the test (`end_all`).
    """
    process = subprocess.Popen(
        [sys.executable, "-m", "study", *arguments],
        env=environment,
        stdout=output,
        stderr=output,
        text=True,
        start_new_session=True,
        preexec_fn=hear_signals,
    )
    _STARTED.append(process)
    return process


_STARTED: Final = list[subprocess.Popen[str]]()


def end_all() -> None:
    """Kill what `psp` started and nobody waited for: a test that fails leaves none of it to the next."""
    while _STARTED:
        process = _STARTED.pop()
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
        for pipe in (process.stdout, process.stderr):
            if pipe is not None:
                pipe.close()
        process.wait()


def wait_until(ready: Callable[[], bool], run: subprocess.Popen[str] | None = None) -> None:
    """Until something is so; a run that ends before fails the test with what the run said."""
    deadline = time.monotonic() + PATIENCE
    while not ready():
        assert run is None or run.poll() is None, run.communicate()
        assert time.monotonic() < deadline, f"not so after {PATIENCE} s"
        time.sleep(0.1)


def wait_for_port(port: int) -> None:
    """Until something on this machine listens there."""

    def listens() -> bool:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
            return True
        return False

    wait_until(listens)


def hear_signals() -> None:
    """Undo what nohup and a script's `&` did to this process."""
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGHUP, signal.SIG_DFL)

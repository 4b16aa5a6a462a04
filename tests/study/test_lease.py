import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from study.files import Files
from study.lease import FILE, STALE_SECONDS, Lease
from study.spec import StudyError
from tests.clusters import wait_until


def other_driver(folder: Path, *, pid: int, host: str = "elsewhere", age: float = 0.0) -> None:
    content = {"id": "other", "host": host, "pid": pid, "updated": time.time() - age}
    (folder / FILE).write_text(json.dumps(content))


def here() -> str:
    return os.uname().nodename


def test_a_second_driver_is_refused_until_the_first_ends(tmp_path: Path) -> None:
    with subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"]) as alive:
        other_driver(tmp_path, pid=alive.pid, host=here())
        with pytest.raises(StudyError, match=f"is being written by another psp run .process {alive.pid} on {here()}"):
            Lease(Files(str(tmp_path))).__enter__()
        alive.kill()
        alive.wait()
        with Lease(Files(str(tmp_path))):
            assert json.loads((tmp_path / FILE).read_text())["pid"] == os.getpid()
    assert not (tmp_path / FILE).exists()


def test_a_driver_elsewhere_counts_as_dead_after_a_while(tmp_path: Path) -> None:
    other_driver(tmp_path, pid=1, age=STALE_SECONDS - 5)
    with pytest.raises(StudyError, match="on elsewhere"):
        Lease(Files(str(tmp_path))).__enter__()
    other_driver(tmp_path, pid=1, age=STALE_SECONDS + 5)
    with Lease(Files(str(tmp_path))):
        pass


def test_of_two_that_claim_at_once_the_first_to_write_gives_way(tmp_path: Path) -> None:
    with Lease(Files(str(tmp_path))) as lease:
        lease.confirm()
        other_driver(tmp_path, pid=1)
        with pytest.raises(StudyError, match="on elsewhere"):
            lease.confirm()
    assert json.loads((tmp_path / FILE).read_text())["id"] == "other"  # not ours to remove


@pytest.mark.parametrize("content", ["", "[]", "{}", "null", '{"id": 1}', "\x00"])
def test_a_damaged_lease_is_no_lease(tmp_path: Path, content: str) -> None:
    (tmp_path / FILE).write_text(content)
    with Lease(Files(str(tmp_path))) as lease:
        lease.confirm()


def test_a_lease_is_renewed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("study.lease.RENEW_SECONDS", 0.01)
    with Lease(Files(str(tmp_path))):
        first = json.loads((tmp_path / FILE).read_text())["updated"]
        wait_until(lambda: json.loads((tmp_path / FILE).read_text())["updated"] != first)

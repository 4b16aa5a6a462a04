"""The program as a user runs it, with Ray: whole runs, stopped runs, killed runs."""

import contextlib
import os
import secrets
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pandas as pd
import pyarrow.parquet as pq
import pytest
import yaml

from tests.conftest import small_study

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("ray")]

TIMES = ["seconds", "steps_per_second"]
STUDY = small_study(
    axes={"context": ["none", "binary", "complex", "one-power"], "width": [4, 8, 16]},
    settings={"dataset": "digits", "num_tasks": 4, "steps_per_task": 60, "lr": 0.01},
)


@pytest.fixture(scope="module")
def study_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("studies") / "small.yaml"
    path.write_text(yaml.safe_dump(STUDY.to_mapping()))
    return path


def start(study_file: Path, out: Path) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "study", "run", str(study_file), "--out", str(out)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True)


def wait_for_packs(out: Path, number: int) -> dict[str, int]:
    """Wait until so many packs are stored; their files and when they were written."""
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline:
        stored = {path.name: path.stat().st_mtime_ns for path in out.glob("trials/*.parquet")}
        if len(stored) >= number:
            return stored
        time.sleep(0.1)
    raise AssertionError(f"no {number} packs in {out} after 120 s")


def measured(out: Path) -> tuple[pd.DataFrame, pd.DataFrame]:
    trials = pq.read_table(out / "trials").to_pandas().drop(columns=TIMES).sort_values("trial_id")
    evals = pq.read_table(out / "evals").to_pandas().sort_values(["trial_id", "tasks_seen", "task"])
    return trials.reset_index(drop=True), evals.reset_index(drop=True)


@pytest.fixture(scope="module")
def quiet_run(study_file: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str, str]:
    """An uninterrupted run: its store, and what it printed."""
    out = tmp_path_factory.mktemp("quiet") / "out"
    process = start(study_file, out)
    printed, errors = process.communicate(timeout=300)
    assert process.returncode == 0, errors
    return out, printed, errors


def test_a_run_stores_every_trial_and_prints_one_line_a_pack(quiet_run: tuple[Path, str, str]) -> None:
    out, printed, errors = quiet_run
    trials, evals = measured(out)
    assert len(trials) == 24
    assert (trials["status"] == "ok").all()
    assert len(evals) == 24 * 10
    assert not (out / "checkpoints").exists() or not list((out / "checkpoints").iterdir())
    lines = printed.splitlines()
    assert lines[0] == "small: 24 trials planned, 0 done already."
    assert sum(line.startswith("[") for line in lines) == 12
    assert len(lines) == 12 + 3
    assert errors == ""  # nothing of Ray's own


def test_a_driver_killed_in_the_middle_is_continued_by_the_same_command(
    quiet_run: tuple[Path, str, str], study_file: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    process = start(study_file, out)
    stored = wait_for_packs(out, 3)
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate()
    time.sleep(2)  # workers notice, the last of their files appear
    stored = wait_for_packs(out, len(stored))
    assert len(stored) < 12
    again = start(study_file, out)
    printed, errors = again.communicate(timeout=300)
    assert again.returncode == 0, errors
    assert f"24 trials planned, {2 * len(stored)} done already" in printed
    after = wait_for_packs(out, 12)
    assert {name: after[name] for name in stored} == stored  # not trained again
    for ours, quiet in zip(measured(out), measured(quiet_run[0]), strict=True):
        pd.testing.assert_frame_equal(ours, quiet)


def test_ctrl_c_stops_cleanly_and_says_how_to_go_on(study_file: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    process = start(study_file, out)
    wait_for_packs(out, 1)
    os.killpg(process.pid, signal.SIGINT)
    printed, errors = process.communicate(timeout=60)
    assert process.returncode == 130
    assert printed.splitlines()[-1].startswith(
        "Stopped; finished trials are kept. Go on with the same command: psp run "
    )
    assert "Traceback" not in errors
    assert pq.read_table(out / "trials").num_rows >= 2
    again = start(study_file, out)
    late = out / "checkpoints" / next(out.glob("trials/*.parquet")).stem  # what a slow storage writes of a stored pack
    wait_for_packs(out, len(list(out.glob("trials/*.parquet"))) + 1)
    late.mkdir(parents=True)
    (late / "progress.json").touch()
    again.communicate(timeout=300)
    assert again.returncode == 0
    assert len(measured(out)[0]) == 24
    assert not list(out.glob("checkpoints/*"))


def test_a_run_whose_time_is_up_stops_and_goes_on(
    quiet_run: tuple[Path, str, str], study_file: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    command = [sys.executable, "-m", "study", "run", str(study_file), "--out", str(out), "--max-concurrent", "1"]
    first = subprocess.run([*command, "--time-budget", "3"], capture_output=True, text=True, timeout=120, check=False)
    assert first.returncode == 1, first.stdout + first.stderr
    assert "not trained" in first.stdout
    assert "Go on with the same command: psp run" in first.stdout
    assert not (out / "driver.json").exists()
    again = subprocess.run(command, capture_output=True, text=True, timeout=240, check=False)
    assert again.returncode == 0, again.stdout + again.stderr
    for mine, theirs in zip(measured(out), measured(quiet_run[0]), strict=True):
        pd.testing.assert_frame_equal(mine, theirs, check_exact=True)


def test_failed_trials_give_exit_code_1_and_their_error(tmp_path: Path) -> None:
    """A network of 16 TB: no worker has the memory."""
    path = tmp_path / "huge.yaml"
    settings = {"dataset": "digits", "num_tasks": 2, "width": 2_000_000}
    path.write_text(yaml.safe_dump({"name": "huge", "settings": settings}))
    base = [sys.executable, "-m", "study"]
    out = str(tmp_path / "out")
    done = subprocess.run(
        [*base, "run", str(path), "--out", out], capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 1, done.stderr
    assert "Of 1 planned: 0 ok, 0 diverged, 1 failed." in done.stdout
    status = subprocess.run([*base, "status", out], capture_output=True, text=True, timeout=60, check=False)
    assert status.returncode == 1
    assert "failed: seed=0: RuntimeError: " in status.stdout


def test_damaged_data_stop_a_run_before_it_starts(tmp_path: Path) -> None:
    raw = tmp_path / "data" / "MNIST" / "raw"
    raw.mkdir(parents=True)
    for part in ("train", "t10k"):
        for kind in ("images-idx3", "labels-idx1"):
            (raw / f"{part}-{kind}-ubyte").write_bytes(b"damaged")
    path = tmp_path / "mnist.yaml"
    path.write_text(yaml.safe_dump({"name": "mnist", "settings": {"dataset": "mnist", "num_tasks": 2}}))
    out = tmp_path / "out"
    command = [sys.executable, "-m", "study", "run", str(path), "--out", str(out), "--data", str(tmp_path / "data")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 2
    assert "dataset='mnist': the files train-images-idx3-ubyte, " in done.stderr
    assert not out.exists()


def test_a_study_runs_on_a_cluster_that_is_already_there(tmp_path: Path) -> None:
    """A head on loopback with a token of its own, as `ray start` makes it on a cluster's first machine."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    environment = os.environ | {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": secrets.token_hex(32)}
    options = ["--head", "--block", f"--port={port}", "--node-ip-address=127.0.0.1", "--num-cpus=2", "--num-gpus=0"]
    ray = [str(Path(sys.executable).with_name("ray")), "start", *options, "--include-dashboard=false"]
    head = subprocess.Popen(
        ray, env=environment, start_new_session=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        wait_for_port(port)
        path = tmp_path / "tiny.yaml"
        path.write_text(yaml.safe_dump(small_study().to_mapping()))
        where = ["--out", str(tmp_path / "out"), "--address", f"127.0.0.1:{port}"]
        command = [sys.executable, "-m", "study", "run", str(path), *where]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=180, check=False)
        assert done.returncode == 0, done.stderr
        assert set(measured(tmp_path / "out")[0]["status"]) == {"ok"}
        assert len(measured(tmp_path / "out")[0]) == 8
    finally:
        head.terminate()
        head.wait(60)


def wait_for_port(port: int) -> None:
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        with contextlib.suppress(OSError):
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
            return
        time.sleep(0.2)
    raise AssertionError(f"nothing answers on port {port} after 60 s")


def test_an_address_where_nobody_answers_is_bad_input_in_seconds(study_file: Path, tmp_path: Path) -> None:
    where = ["--out", str(tmp_path / "out"), "--address", "127.0.0.1:1"]
    command = [sys.executable, "-m", "study", "run", str(study_file), *where]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 2
    assert "address='127.0.0.1:1': no Ray cluster answers there" in done.stderr

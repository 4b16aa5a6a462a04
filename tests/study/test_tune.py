"""The program as a user runs it, with Ray: whole runs, stopped runs, killed runs."""

import os
import re
import secrets
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pandas as pd
import psutil
import pyarrow.parquet as pq
import pytest
import yaml

from study.tune import MAX_RESTARTS
from tests.clusters import PATIENCE, free_port, named, processes_under, psp, wait_for_port, wait_until
from tests.conftest import small_study

pytestmark = pytest.mark.slow

TIMES = ["seconds", "steps_per_second"]
STUDY = replace(
    small_study(
        axes={"context": ["binary", "complex", "rotation", "permutation"], "width": [4, 8, 16]},  # twelve shapes
        settings={"dataset": "digits", "num_tasks": 4, "steps_per_task": 60, "lr": 0.01},
    ),
    keep_models=True,
)


@pytest.fixture(scope="module")
def long_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Four trials of two shapes that train for minutes, with a checkpoint many times a second."""
    settings = {"dataset": "digits", "num_tasks": 500, "steps_per_task": 100, "lr": 0.01, "eval_tasks": "first"}
    spec = small_study(axes={"context": ["binary", "rotation"]}, settings={"width": 8, **settings})
    path = tmp_path_factory.mktemp("studies") / "long.yaml"
    path.write_text(yaml.safe_dump(spec.to_mapping()))
    return path


@pytest.fixture(scope="module")
def study_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("studies") / "small.yaml"
    path.write_text(yaml.safe_dump(STUDY.to_mapping()))
    return path


def start(study_file: Path, out: Path) -> subprocess.Popen[str]:
    return psp("run", str(study_file), "--out", str(out), "--checkpoint-every", "0")


def wait_for_packs(out: Path, number: int) -> dict[str, int]:
    """Wait until so many packs are stored; their files and when they were written."""

    def stored() -> dict[str, int]:
        return {path.name: path.stat().st_mtime_ns for path in out.glob("trials/*.parquet")}

    wait_until(lambda: len(stored()) >= number)
    return stored()


def measured(out: Path) -> tuple[pd.DataFrame, pd.DataFrame]:
    trials = pq.read_table(out / "trials").to_pandas().drop(columns=TIMES).sort_values("trial_id")
    evals = pq.read_table(out / "evals").to_pandas().sort_values(["trial_id", "tasks_seen", "task"])
    return trials.reset_index(drop=True), evals.reset_index(drop=True)


@pytest.fixture(scope="module")
def quiet_run(study_file: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str, str]:
    """An uninterrupted run: its store, and what it printed."""
    out = tmp_path_factory.mktemp("quiet") / "out"
    process = start(study_file, out)
    printed, errors = process.communicate(timeout=PATIENCE)
    assert process.returncode == 0, errors
    return out, printed, errors


def test_a_run_stores_every_trial_and_prints_one_line_a_pack(quiet_run: tuple[Path, str, str]) -> None:
    out, printed, errors = quiet_run
    trials, evals = measured(out)
    assert len(trials) == 24
    assert (trials["status"] == "ok").all()
    assert len(evals) == 24 * 10
    assert not (out / "checkpoints").exists() or not list((out / "checkpoints").iterdir())
    assert {path.stem for path in (out / "states").iterdir()} == set(trials["trial_id"])
    lines = printed.splitlines()
    assert lines[0] == "small: 24 trials planned, 0 done already."
    assert lines[1].startswith("starting")
    assert [number for number, line in enumerate(lines) if line.startswith("[")] == list(range(2, 14))  # then the end
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
    printed, errors = again.communicate(timeout=PATIENCE)
    assert again.returncode == 0, errors
    assert f"24 trials planned, {2 * len(stored)} done already" in printed
    after = wait_for_packs(out, 12)
    assert {name: after[name] for name in stored} == stored  # not trained again
    for ours, quiet in zip(measured(out), measured(quiet_run[0]), strict=True):
        pd.testing.assert_frame_equal(ours, quiet)


@pytest.mark.parametrize(
    ("signals", "code"),
    [
        ([signal.SIGINT], 130),  # Ctrl-C goes to all processes of a terminal's group
        ([signal.SIGINT, signal.SIGINT], 130),
        ([signal.SIGTERM], 143),
        ([signal.SIGHUP], 129),
    ],
)
@pytest.mark.parametrize("whom", [os.kill, os.killpg])
def test_a_signal_stops_cleanly_and_says_how_to_go_on(
    long_file: Path, tmp_path: Path, whom: Callable[[int, int], None], signals: list[signal.Signals], code: int
) -> None:
    out = tmp_path / "out"
    process = start(long_file, out)
    wait_until(lambda: bool(list(out.glob("checkpoints/*/*.pt"))))
    started = processes_under(process)
    for number in signals:
        whom(process.pid, number)
        time.sleep(0.3)
    printed, errors = process.communicate(timeout=PATIENCE)
    assert process.returncode == code, printed + errors
    assert printed.splitlines()[-1].startswith(
        "Stopped; finished trials are kept. Go on with the same command: psp run "
    )
    assert errors == ""
    assert list(out.glob("checkpoints/*/*.pt"))
    assert not (out / "driver.json").exists()
    _, left = psutil.wait_procs(started, timeout=PATIENCE)
    assert left == []
    status = psp("status", str(out)).communicate(timeout=PATIENCE)[0]
    assert "running  0" in status
    assert "to do    4\n" in status
    kept = r"[12] packs? of [12] trials? at task [0-9]+( to [0-9]+)? of 500"
    assert re.search(f"Kept half way: {kept}", printed)
    assert re.search(f"kept     {kept}", status)


def test_a_stopped_run_is_continued_by_the_same_command(
    quiet_run: tuple[Path, str, str], study_file: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    process = start(study_file, out)
    wait_for_packs(out, 1)
    os.killpg(process.pid, signal.SIGINT)
    process.communicate(timeout=PATIENCE)
    assert pq.read_table(out / "trials").num_rows >= 2
    again = start(study_file, out)
    late = out / "checkpoints" / next(out.glob("trials/*.parquet")).stem  # what a slow storage writes of a stored pack
    wait_for_packs(out, len(list(out.glob("trials/*.parquet"))) + 1)
    late.mkdir(parents=True)
    (late / "progress.json").touch()
    again.communicate(timeout=PATIENCE)
    assert again.returncode == 0
    for mine, theirs in zip(measured(out), measured(quiet_run[0]), strict=True):
        pd.testing.assert_frame_equal(mine, theirs, check_exact=True)
    assert not list(out.glob("checkpoints/*"))


@pytest.mark.parametrize("name", ["raylet", "gcs_server"])
def test_where_ray_dies_a_line_says_so_and_how_to_go_on(long_file: Path, tmp_path: Path, name: str) -> None:
    out = tmp_path / "out"
    process = start(long_file, out)
    wait_until(lambda: bool(list(out.glob("checkpoints/*/*.pt"))))
    (victim,) = (child for child in processes_under(process) if child.name() == name)
    victim.kill()
    printed, errors = process.communicate(timeout=PATIENCE)
    assert process.returncode == 1, printed + errors
    told = [line for line in (printed + errors).splitlines() if line.startswith("error: ")]
    assert len(told) == 1, printed + errors
    assert "died or cannot be reached any more" in told[0]
    assert "Go on with the same command" in told[0]
    assert list(out.glob("checkpoints/*/*.pt"))


def not_ours(folder: Path, *names: str) -> None:
    """A user's own files that are called as our packages are."""
    for name in names:
        (folder / f"{name}.py").write_text("raise SystemExit('not ours')\n")


def test_beside_files_of_the_packages_names_workers_find_ours(tmp_path: Path) -> None:
    not_ours(tmp_path, "study", "analysis", "psp_core")
    (tmp_path / "tiny.yaml").write_text(yaml.safe_dump(small_study().to_mapping()))
    program = [sys.executable, "-P", "-c", "from study.cli import main; main()"]  # -P: as the installed psp starts
    for arguments in (["run", "tiny.yaml", "--out", "out"], ["plot", "out"]):
        done = subprocess.run(
            [*program, *arguments], cwd=tmp_path, capture_output=True, text=True, timeout=PATIENCE, check=False
        )
        assert done.returncode == 0, done.stdout + done.stderr


def test_a_run_whose_time_is_up_stops_and_says_so(long_file: Path, tmp_path: Path) -> None:
    """The time counts from the command's start, so it may be up before Ray is."""
    out = tmp_path / "out"
    command = [sys.executable, "-m", "study", "run", str(long_file), "--out", str(out), "--time-budget", "12"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE, check=False)
    assert done.returncode == 124, done.stdout + done.stderr
    assert "0 failed, 4 still to train." in done.stdout
    last = done.stdout.splitlines()[-1]
    assert last.startswith(
        "The time budget of 12 s is used; 4 trials still to train. Go on with the same command: psp run"
    )
    assert not (out / "driver.json").exists()


def test_failed_trials_give_exit_code_1_and_their_error(tmp_path: Path) -> None:
    """A network of 16 TB: no worker has the memory."""
    path = tmp_path / "huge.yaml"
    settings = {"dataset": "digits", "num_tasks": 2, "width": 2_000_000}
    path.write_text(yaml.safe_dump({"name": "huge", "settings": settings}))
    base = [sys.executable, "-m", "study"]
    out = str(tmp_path / "out")
    done = subprocess.run(
        [*base, "run", str(path), "--out", out], capture_output=True, text=True, timeout=PATIENCE, check=False
    )
    assert done.returncode == 1, done.stderr
    assert "Of 1 planned: 0 ok, 0 diverged, 1 failed." in done.stdout
    status = subprocess.run([*base, "status", out], capture_output=True, text=True, timeout=PATIENCE, check=False)
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
    done = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE, check=False)
    assert done.returncode == 2
    assert "dataset='mnist': the files train-images-idx3-ubyte, " in done.stderr
    assert not out.exists()


def test_a_study_runs_on_a_cluster_that_is_already_there(tmp_path: Path) -> None:
    """A head on loopback with a token of its own, as `ray start` makes it on a cluster's first machine.

    Typed beside a user's own files, and with their folder first on the path.
    """
    not_ours(tmp_path, "analysis", "psp_core")
    port = free_port()
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
        environment |= {"PYTHONPATH": "."}
        done = subprocess.run(
            command, env=environment, cwd=tmp_path, capture_output=True, text=True, timeout=PATIENCE, check=False
        )
        assert done.returncode == 0, done.stderr
        assert set(measured(tmp_path / "out")[0]["status"]) == {"ok"}
        assert len(measured(tmp_path / "out")[0]) == 8
    finally:
        head.terminate()
        head.wait(PATIENCE)


@pytest.mark.parametrize(
    ("address", "known", "message"),
    [
        ("127.0.0.1:1", None, "address='127.0.0.1:1': no Ray cluster answers there ([Errno 111] Connection refused)"),
        ("foo", None, "address='foo': no Ray cluster answers there (neither 'auto' nor HOST:PORT"),
        ("auto", "127.0.0.1:1", "address='auto' (RAY_ADDRESS='127.0.0.1:1'): no Ray cluster answers there"),
        ("auto", "http://127.0.0.1:8265", "(RAY_ADDRESS='http://127.0.0.1:8265'): no Ray cluster answers there (a web"),
        ("ray://127.0.0.1:10001", None, "no Ray cluster answers there (a Ray client's address"),
    ],
)
def test_an_address_where_no_cluster_is_is_bad_input_in_seconds(
    study_file: Path, tmp_path: Path, address: str, known: str | None, message: str
) -> None:
    environment = {name: value for name, value in os.environ.items() if name != "RAY_ADDRESS"}
    run = psp(
        "run", str(study_file), "--out", str(tmp_path / "out"), "--address", address,
        environment=environment | ({"RAY_ADDRESS": known} if known else {}),
    )  # fmt: skip
    _, errors = run.communicate(timeout=PATIENCE)
    assert run.returncode == 2
    assert message in errors
    assert len(errors.splitlines()) == 1


def test_a_cluster_of_other_versions_is_bad_input(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from study import connection
    from study.spec import StudyError
    from study.tune import Engine

    def mismatch(**options: object) -> None:
        raise RuntimeError("Version mismatch: The cluster was started with:\n    Ray: 2.52.0\n    Python: 3.12.1\n")

    monkeypatch.setattr(connection, "reach", lambda host, port: None)
    monkeypatch.setattr(connection, "_greet", lambda address: None)
    monkeypatch.setattr(connection.ray, "init", mismatch)
    with pytest.raises(StudyError, match="Version mismatch: The cluster was started with: Ray: 2") as error:
        Engine("127.0.0.1:6379").__enter__()
    assert "with the versions of Ray and Python that are here" in str(error.value)


def test_a_temporary_folder_with_a_long_name_is_no_hindrance_and_stays_empty(tmp_path: Path) -> None:
    """Ray's sockets have no room in it; nor does another user's /tmp/ray matter."""
    folder = tmp_path / ("long" * 20)
    folder.mkdir()
    path = tmp_path / "tiny.yaml"
    path.write_text(yaml.safe_dump(small_study().to_mapping()))
    run = psp("run", str(path), "--out", str(tmp_path / "out"), environment=os.environ | {"TMPDIR": str(folder)})
    printed, errors = run.communicate(timeout=PATIENCE)
    assert run.returncode == 0, printed + errors
    assert not (folder / "ray").exists()


def test_a_full_disk_ends_the_run_with_its_cause(full_disk: Path, tmp_path: Path) -> None:
    path = tmp_path / "tiny.yaml"
    path.write_text(yaml.safe_dump(small_study(seeds=list(range(6))).to_mapping()))
    run = psp("run", str(path), "--out", str(full_disk), "--max-members", "1")
    printed, errors = run.communicate(timeout=PATIENCE)
    assert run.returncode == 2, printed + errors
    assert len(errors.splitlines()) == 1
    assert "No space left on device" in errors
    assert "Finished trials are kept. When the storage takes more: Go on with the same command: psp run" in errors
    assert 0 < len(list(full_disk.glob("trials/*.parquet"))) < 24


def test_a_pack_whose_worker_dies_more_often_than_it_may_restart_gets_on(tmp_path: Path) -> None:
    """As on spot machines: each time it had kept more than before."""
    settings = {"dataset": "digits", "width": 8, "num_tasks": 40, "steps_per_task": 200, "lr": 0.01}
    path = tmp_path / "one.yaml"
    path.write_text(yaml.safe_dump(small_study(axes={"context": ["none"]}, seeds=[0], settings=settings).to_mapping()))
    out = tmp_path / "out"
    run = start(path, out)
    kept = 0

    def newer() -> bool:
        assert run.poll() is None, run.communicate()
        return max((int(state.stem) for state in out.glob("checkpoints/*/*.pt")), default=0) > kept + 1

    for _ in range(MAX_RESTARTS + 1):
        wait_until(lambda: newer() and bool(named(run, "ResourceTrainable")))
        kept = max(int(state.stem) for state in out.glob("checkpoints/*/*.pt"))
        for worker in named(run, "ResourceTrainable"):
            worker.kill()
    printed, errors = run.communicate(timeout=PATIENCE)
    assert run.returncode == 0, printed + errors
    assert "1 ok" in printed

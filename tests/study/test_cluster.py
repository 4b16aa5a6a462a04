"""Whole studies on real clusters of two nodes, on loopback: a node is lost, the storage is S3 and fails."""

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pandas as pd
import pyarrow.fs as pafs
import pyarrow.parquet as pq
import pytest
import yaml

from study.files import Files
from study.store import TrialStore
from study.workers import Workers
from tests import chaos
from tests.clusters import PATIENCE, Cluster, psp, two_nodes, wait_until
from tests.conftest import run_here, small_study
from tests.s3_server import S3, s3_server

pytestmark = pytest.mark.slow

# 48 trials, in packs of at most three: what two nodes of one CPU plan, and what is run here without Ray.
STUDY = small_study(
    axes={"context": ["none", "binary", "complex", "one-power"], "width": [8, 16]},
    seeds=[0, 1, 2, 3, 4, 5],
    settings={"dataset": "digits", "num_tasks": 6, "steps_per_task": 500, "lr": 0.01, "batch_size": 32},
)
OPTIONS = ("--max-members", "3", "--checkpoint-every", "0.2")
TWO = Workers(device="cpu", count=2, memory=2**33, cores=1)


@pytest.fixture(scope="session")
def study_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("studies") / "small.yaml"
    path.write_text(yaml.safe_dump(STUDY.to_mapping()))
    return path


@pytest.fixture(scope="session")
def quiet(tmp_path_factory: pytest.TempPathFactory) -> tuple[pd.DataFrame, pd.DataFrame]:
    """What the study measures where nothing goes wrong."""
    out = tmp_path_factory.mktemp("quiet")
    run_here(STUDY, out, workers=TWO, max_members=3)
    return measured(pafs.LocalFileSystem(), str(out))


def measured(fs: pafs.FileSystem, root: str) -> tuple[pd.DataFrame, pd.DataFrame]:
    trials = pq.read_table(f"{root}/trials", filesystem=fs).to_pandas().drop(columns=["seconds", "steps_per_second"])
    evals = pq.read_table(f"{root}/evals", filesystem=fs).to_pandas()
    return (
        trials.sort_values("trial_id").reset_index(drop=True),
        evals.sort_values(["trial_id", "tasks_seen", "task"]).reset_index(drop=True),
    )


def assert_equal(found: tuple[pd.DataFrame, pd.DataFrame], expected: tuple[pd.DataFrame, pd.DataFrame]) -> None:
    for mine, theirs in zip(found, expected, strict=True):
        pd.testing.assert_frame_equal(mine, theirs, check_exact=True)


@pytest.mark.xdist_group("quiet")
def test_a_node_is_lost_in_the_middle_and_nothing_with_it(
    study_file: Path, quiet: tuple[pd.DataFrame, pd.DataFrame], tmp_path: Path
) -> None:
    out = tmp_path / "out"
    with two_nodes() as cluster:
        arguments = ("run", str(study_file), "--address", cluster.address, "--out", str(out), *OPTIONS)
        run = psp(*arguments, environment=cluster.environment)
        wait_until(lambda: len(list(out.glob("trials/*.parquet"))) >= 3 and len(cluster.workers()) == 2, run)
        on_second = {worker.pid for worker in cluster.workers_on("127.0.0.2")}
        cluster.kill("127.0.0.2")
        printed, errors = run.communicate(timeout=PATIENCE)
    assert on_second, "the second node had no part in it"
    assert run.returncode == 0, printed + errors
    assert "Of 48 planned: 48 ok" in printed
    assert_equal(measured(pafs.LocalFileSystem(), str(out)), quiet)
    assert not list(out.glob("checkpoints/*"))


@pytest.fixture
def s3(monkeypatch: pytest.MonkeyPatch) -> Iterator[S3]:
    """A bucket on a server that fails at times."""
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "user")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "very-secret")
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    with s3_server() as server:
        yield server


@pytest.mark.xdist_group("quiet")
def test_a_store_on_s3_that_fails_at_times_ends_as_a_quiet_one(
    study_file: Path, quiet: tuple[pd.DataFrame, pd.DataFrame], s3: S3
) -> None:
    uri = s3.uri
    s3.fail(0.05)
    with two_nodes() as cluster:
        environment = cluster.environment | os.environ | cluster.authentication
        run = psp("run", str(study_file), "--address", cluster.address, "--out", uri, *OPTIONS, environment=environment)
        printed, errors = run.communicate(timeout=PATIENCE)
    assert run.returncode == 0, printed + errors
    s3.fail(0)
    fs, root = pafs.FileSystem.from_uri(uri)
    assert_equal(measured(fs, root), quiet)
    stored = yaml.safe_load(Files(uri).read("study.yaml"))
    assert "very-secret" not in str(stored) + printed + errors
    assert TrialStore(uri).files.names("checkpoints") == []
    status = psp("status", uri, environment=os.environ.copy())
    assert "done     48" in status.communicate(timeout=PATIENCE)[0]


def test_what_opens_a_store_travels_to_the_workers(tmp_path: Path, s3: S3, monkeypatch: pytest.MonkeyPatch) -> None:
    """The cluster knows nothing of the server: its address and keys are in the environment of `psp run` alone.

    And nobody may look for the bucket itself: what is stored can be drawn all the same.
    """
    path = tmp_path / "tiny.yaml"
    path.write_text(yaml.safe_dump(small_study().to_mapping()))
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_EC2_METADATA_DISABLED"):
        monkeypatch.delenv(name)
    uri = "s3://bucket/studies/tiny?region=us-east-1"
    mine = {
        "AWS_ENDPOINT_URL_S3": s3.endpoint,
        "AWS_ACCESS_KEY_ID": "user",
        "AWS_SECRET_ACCESS_KEY": "very-secret",
        "AWS_EC2_METADATA_DISABLED": "true",
    }
    with two_nodes() as cluster:
        command = ("run", str(path), "--address", cluster.address, "--out", uri)
        run = psp(*command, environment=cluster.environment | mine)
        printed, errors = run.communicate(timeout=PATIENCE)
        assert run.returncode == 0, printed + errors
    assert "8 ok" in printed
    assert "very-secret" not in printed + errors
    plot = psp("plot", uri, environment=os.environ | mine)
    drawn, errors = plot.communicate(timeout=PATIENCE)
    assert plot.returncode == 0, drawn + errors
    assert "drew s3://bucket/studies/tiny" in drawn


def test_a_folder_that_a_node_does_not_see_is_refused(study_file: Path, tmp_path: Path) -> None:
    """The second node has an empty file system where the store is: a mount of its own."""
    out = tmp_path / "out"
    out.mkdir()
    can = subprocess.run(
        ["unshare", "--mount", "mount", "-t", "tmpfs", "none", str(out)], check=False, capture_output=True
    )
    if can.returncode:
        pytest.skip("this machine does not let a process have mounts of its own")
    cluster = Cluster()
    try:
        cluster.start_head()
        cluster.start_node(
            "127.0.0.2", before=["unshare", "--mount", "sh", "-c", f'mount -t tmpfs none {out} && exec "$@"', "-"]
        )
        cluster.wait_for_nodes(2)
        run = psp(
            "run", str(study_file), "--address", cluster.address, "--out", str(out), environment=cluster.environment
        )
        printed, errors = run.communicate(timeout=PATIENCE)
    finally:
        cluster.stop()
    assert run.returncode == 2, printed + errors
    assert "is a folder that 127.0.0.2 cannot see" in errors
    assert "use a folder that all machines share, or a URI" in errors


def test_chaos_in_short(capsys: pytest.CaptureFixture[str]) -> None:
    """The long form is `python -m tests.chaos`."""
    killed = chaos.main(seed=3, kills=3, seconds=PATIENCE, num_seeds=2, steps_per_task=1000)
    assert sum(killed.values()) >= 2  # how many depends on how fast this machine is
    assert "20 trials, equal to a quiet run" in capsys.readouterr().out

"""Whether every machine of a cluster reaches the store, and what travels there for it."""

import os
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from study.credentials import accept, credentials
from study.lease import Lease
from study.run import _check_shared
from study.spec import StudyError
from study.store import TrialStore
from study.tune import _looks


def engine_that_finds(blind: dict[str, str]) -> Any:
    return SimpleNamespace(address="auto", unreachable=lambda store, lease: blind)


def test_a_uri_that_a_machine_cannot_read_is_refused_with_the_cause() -> None:
    store = TrialStore("s3://bucket/path?region=eu-west-1")
    found = {"10.0.0.2": "s3://bucket/path refuses to read driver.json: ACCESS_DENIED " + "x" * 3000}
    with pytest.raises(StudyError, match=r"cannot be read on 10\.0\.0\.2 \(s3://bucket/path refuses") as error:
        _check_shared(store, engine_that_finds(found), Lease(store.files))
    assert len(str(error.value)) < 700


def test_a_folder_that_a_machine_does_not_see_is_refused(tmp_path: Path) -> None:
    store = TrialStore(str(tmp_path))
    with pytest.raises(StudyError, match=r"is a folder that 10\.0\.0\.2, 10\.0\.0\.3 cannot see"):
        _check_shared(store, engine_that_finds({"10.0.0.2": "", "10.0.0.3": ""}), Lease(store.files))
    _check_shared(store, engine_that_finds({}), Lease(store.files))


def test_a_machine_sees_a_store_where_it_reads_its_lease(tmp_path: Path) -> None:
    store = TrialStore(str(tmp_path))
    assert _looks(store.uri, "x", {}) == "nothing of it is there"
    with Lease(store.files) as lease:
        assert _looks(store.uri, lease.id, {}) == ""
        assert _looks(store.uri, "another", {}) == "another store lies there"
    assert "is a file" in _looks(__file__, "x", {})


def test_variables_of_clouds_travel_and_no_others(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in credentials():
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", "http://here")
    monkeypatch.setenv("GOOGLE_CLOUD_PROJECT", "p")
    monkeypatch.setenv("MY_SECRET", "s")
    assert credentials() == {"AWS_ENDPOINT_URL_S3": "http://here", "GOOGLE_CLOUD_PROJECT": "p"}


def test_files_that_are_not_there_and_tokens_of_other_keys_are_not_taken(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    there = tmp_path / "key.json"
    there.touch()
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SHARED_CREDENTIALS_FILE", "GOOGLE_APPLICATION_CREDENTIALS"):
        monkeypatch.setenv(name, "before")
    monkeypatch.setenv("AWS_SESSION_TOKEN", "of the key before")
    accept(
        {
            "AWS_ACCESS_KEY_ID": "key",
            "AWS_SHARED_CREDENTIALS_FILE": str(tmp_path / "nowhere"),
            "GOOGLE_APPLICATION_CREDENTIALS": str(there),
        }
    )
    assert os.environ["AWS_ACCESS_KEY_ID"] == "key"
    assert os.environ["AWS_SHARED_CREDENTIALS_FILE"] == "before"
    assert os.environ["GOOGLE_APPLICATION_CREDENTIALS"] == str(there)
    assert "AWS_SESSION_TOKEN" not in os.environ

import errno
import os
from pathlib import Path

import pytest

from study import files as module
from study.files import Files, FinalStorageError, StorageError


@pytest.fixture
def waits(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Nobody really waits; how long it would have been."""
    waited: list[float] = []
    monkeypatch.setattr(module.time, "sleep", waited.append)
    return waited


class Moody:
    """Refuses a number of times, then does what it is asked."""

    def __init__(self, refusals: int) -> None:
        self.refusals = refusals

    def __call__(self) -> str:
        if self.refusals:
            self.refusals -= 1
            raise OSError("503 Slow Down (s3://key:secret@bucket)")
        return "done"


@pytest.mark.parametrize("refusals", [0, 1, 5])
def test_a_storage_that_refuses_for_a_while_is_asked_again(tmp_path: Path, waits: list[float], refusals: int) -> None:
    assert Files(str(tmp_path))._patiently("write x", Moody(refusals)) == "done"
    assert waits == list(module.WAITS[:refusals])
    assert waits == sorted(waits)


def test_a_storage_that_refuses_for_good_is_an_error_that_says_where_and_no_secret(
    tmp_path: Path, waits: list[float]
) -> None:
    with pytest.raises(StorageError, match="refuses to write x: 503 Slow Down") as error:
        Files(str(tmp_path))._patiently("write x", Moody(100))
    assert str(tmp_path) in str(error.value)
    assert "secret" not in str(error.value)
    assert len(waits) == len(module.WAITS)


def test_a_file_that_is_not_there_is_known_at_once(tmp_path: Path, waits: list[float]) -> None:
    files = Files(str(tmp_path))
    with pytest.raises(FileNotFoundError):
        files.read("nothing")
    files.delete("nothing")
    files.delete_folder("nothing")
    assert files.names("nothing") == []
    assert waits == []


def test_a_write_that_fails_leaves_what_was_there_and_no_litter(tmp_path: Path, waits: list[float]) -> None:
    files = Files(str(tmp_path))
    files.write("a/b", b"old")
    (tmp_path / "a" / "c").mkdir()
    with pytest.raises(StorageError):
        files.write("a/c", b"new")  # a folder is in the way
    assert files.read("a/b") == b"old"
    assert sorted(path.name for path in (tmp_path / "a").iterdir()) == ["b", "c"]


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT, errno.EACCES, errno.EROFS])
def test_no_room_and_no_rights_are_known_at_once(tmp_path: Path, waits: list[float], number: int) -> None:
    files = Files(str(tmp_path))

    def refuse() -> None:
        raise OSError(number, os.strerror(number))

    with pytest.raises(FinalStorageError, match=f"refuses to write x: .*{os.strerror(number)}"):
        files._patiently("write x", refuse)
    assert waits == []


def test_a_full_disk_is_a_full_disk(full_disk: Path, waits: list[float]) -> None:
    files = Files(str(full_disk))
    with pytest.raises(FinalStorageError, match="No space left on device"):
        files.write("a", b"0" * 200_000)
    assert list(full_disk.iterdir()) == []
    assert waits == []


def test_a_place_that_never_answered_is_given_up_soon(waits: list[float]) -> None:
    """A mistyped address, or no network."""
    files = Files("s3://bucket/path?region=eu-west-1")
    with pytest.raises(StorageError, match="503 Slow Down"):
        files._patiently("look", Moody(100))
    assert waits == list(module.FIRST_WAITS)
    waits.clear()
    assert files._patiently("look", Moody(1)) == "done"
    with pytest.raises(StorageError):
        files._patiently("look", Moody(100))
    assert waits == [module.FIRST_WAITS[0], *module.WAITS]


def test_a_worker_is_as_patient_with_a_place_that_its_driver_reached(waits: list[float]) -> None:
    files = Files("s3://bucket/path?region=eu-west-1", reached=True)
    assert files._patiently("look", Moody(len(module.WAITS))) == "done"


@pytest.mark.parametrize(
    ("uri", "opened"),
    [
        ("gs://bucket/path", "gs://bucket/path?retry_limit_seconds=10"),
        ("gs://bucket/path?project_id=x", "gs://bucket/path?project_id=x&retry_limit_seconds=10"),
        ("gs://bucket/path?retry_limit_seconds=60", "gs://bucket/path?retry_limit_seconds=60"),
        ("s3://bucket/path", "s3://bucket/path"),
    ],
)
def test_google_does_not_try_for_a_quarter_of_an_hour(uri: str, opened: str) -> None:
    assert module._with_an_end(uri) == opened

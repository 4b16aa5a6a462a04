from pathlib import Path

import pytest

from study import files as module
from study.files import Files, StorageError


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

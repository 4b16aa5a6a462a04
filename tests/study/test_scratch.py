import tempfile
from pathlib import Path

import pytest

from study.scratch import LONGEST, OURS, PACKAGES, scratch

SOCKET = "/session_2026-11-27_18-44-55_123456_1234567/sockets/plasma_store"


def test_it_has_our_packages_and_nothing_else_and_goes() -> None:
    with scratch() as folder:
        assert sorted(entry.name for entry in (folder / PACKAGES).iterdir()) == sorted(OURS)
        for name in OURS:
            assert (folder / PACKAGES / name / "__init__.py").is_file()
    assert not folder.exists()
    assert (Path(__file__).parents[2] / "study" / "__init__.py").is_file()  # only the links went


def test_it_lies_where_it_is_told_to(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with tempfile.TemporaryDirectory(dir="/tmp") as short:
        monkeypatch.setenv("RAY_TMPDIR", short)
        with scratch() as folder:
            assert folder.parent == Path(short)


def test_a_long_name_leaves_no_room_for_sockets(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    long = tmp_path / ("long" * 20)
    long.mkdir()
    monkeypatch.setenv("RAY_TMPDIR", str(long))
    monkeypatch.setattr(tempfile, "tempdir", str(long))
    with scratch() as folder:
        assert folder.parent == Path("/tmp")
        assert LONGEST + len(folder.name) + 1 + len(SOCKET) <= 107

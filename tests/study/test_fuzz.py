"""Whatever a file holds, there is an answer, and an exit code that says which: never a traceback."""

import contextlib
import io
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from study import cli
from tests.study.test_spec import almost_studies

damage = st.one_of(
    st.binary(max_size=200).map(lambda junk: lambda content: junk),
    st.integers(0, 4000).map(lambda cut: lambda content: content[:cut]),
    st.tuples(st.integers(0, 4000), st.binary(min_size=1, max_size=8)).map(
        lambda where: lambda content: content[: where[0]] + where[1] + content[where[0] + len(where[1]) :]
    ),
)


@pytest.mark.slow
@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    damage,
    st.sampled_from(["trials", "evals", "study.yaml", "driver.json", "checkpoints/x/progress.json"]),
    st.integers(0, 3),
    st.sampled_from(["plot", "compare"]),  # which read the same files by the same function, and take a second
)
def test_whatever_a_file_of_a_store_holds_there_is_an_answer_and_no_traceback(
    small_store: Path, harm: Callable[[bytes], bytes], what: str, which: int, reader: str
) -> None:
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "out"
        shutil.copytree(small_store, out)
        path = out / what
        if path.is_dir():
            path = sorted(path.iterdir())[which]
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(harm(path.read_bytes() if path.exists() else b'{"trial_ids": ["a"], "tasks_seen": 1}'))
        for command in (["status", str(out)], [reader, str(out)]):
            code, message = answer(command)
            assert code in (0, 1, 2)
            assert message.startswith("error: ") == (code == 2)


def answer(command: list[str]) -> tuple[int, str]:
    """Exit code and what went to stderr; anything but an exit is raised."""
    errors = io.StringIO()
    with (
        pytest.MonkeyPatch.context() as patch,
        contextlib.redirect_stdout(io.StringIO()),
        contextlib.redirect_stderr(errors),
    ):
        patch.setattr("sys.argv", ["psp", *command])
        patch.setattr("analysis.figures.FIGURES", {})
        patch.setattr("analysis.plot.FIGURES", {})
        patch.setattr("analysis.plot.BY_SETTING", {})
        try:
            cli.main()
        except SystemExit as exit_:
            return int(exit_.code or 0), errors.getvalue()
    return 0, errors.getvalue()


@settings(max_examples=150)
@given(
    st.binary(max_size=300)
    | st.text(max_size=300).map(str.encode)
    | almost_studies.map(lambda study: yaml.safe_dump(study).encode())
)
def test_whatever_a_study_file_holds_there_is_a_plan_or_an_error(content: bytes) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "study.yaml"
        path.write_bytes(content)
        code, message = answer(["plan", str(path), "--out", str(Path(folder) / "out")])
    assert code in (0, 2)
    assert message.startswith("error: ") == (code == 2)


BAD_PLACES = [
    "",
    " ",
    "://",
    "s3://",
    "gs://",
    "s3:///key",
    "hdfs://",
    "file://",
    "file://x",
    "nowhere://x",
    "s3://a b",
]
BAD_PLACES += [
    "/proc/foo",
    "/proc/foo/bar",
    "/dev/null",
    "/dev/null/x",
    "~nosuchuser",
    "~nosuchuser/x",
    "a\0b",
    "x" * 300,
]
places = st.sampled_from(BAD_PLACES) | st.text(st.characters(codec="utf-8"), max_size=20).map(lambda text: "no/" + text)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(places, st.sampled_from(["status", "compact", "plot", "compare", "plan"]))
def test_whatever_a_place_is_called_there_is_an_answer_and_nothing_is_made(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, place: str, command: str
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("study.files.WAITS", ())
    study = ["quickstart", "--out", place] if command == "plan" else ["--", place]
    code, message = answer([command, *study])
    assert code == 2 or (command == "plan" and code == 0)
    assert message.startswith("error: ") == (code == 2)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("place", BAD_PLACES)
def test_a_run_into_no_place_ends_before_it_begins(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, place: str) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("study.files.WAITS", ())
    code, message = answer(["run", "quickstart", "--out", place])
    assert code == 2
    assert message.startswith("error: ")
    assert len(message.splitlines()) == 1
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("without", ["HOME", "a user"])
def test_a_home_that_nobody_knows_is_bad_input(monkeypatch: pytest.MonkeyPatch, without: str) -> None:
    monkeypatch.delenv("PSP_DATA", raising=False)
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    if without == "HOME":
        monkeypatch.delenv("HOME", raising=False)
        monkeypatch.setattr("pwd.getpwuid", lambda uid: {}[uid])  # as for a user id that has no entry
    data = [] if without == "HOME" else ["--data", "~nosuchuser/data"]
    code, message = answer(["plan", "permuting-mnist-256", "--small", "--out", "/nowhere", *data])
    assert code == 2
    assert "give --data or PSP_DATA a path that begins with /" in message

"""The examples of docs/adding.md and docs/own-data.md, each tried in a copy of the project as a reader would try it."""

import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

PROJECT = Path(__file__).parent.parent
PAGE = (PROJECT / "docs" / "adding.md").read_text()
SECTIONS = {title: text for title, text in re.findall(r"^## (.+?)\n(.*?)(?=^## |\Z)", PAGE, re.MULTILINE | re.DOTALL)}
SECTIONS["A data set of one's own"] = (PROJECT / "docs" / "own-data.md").read_text().partition("## In Python alone")[0]
EXAMPLES = [title for title, text in SECTIONS.items() if "```" in text]
COPIED = ("analysis", "benchmarks", "docs", "psp_core", "study", "tests")
FAST = ("A context",)
GENERAL = ("test_imports.py", "test_import_circles.py", "test_seams.py", "test_reference.py", "psp_core/test_parts.py")
NEW = " or ".join(
    (
        "block-signs",
        "gates",
        "shifted",
        "tapered",
        "l2",
        "subspace",
        "bars",
        "stream_share",
        "square_decay",
        "TestLearned",
    )
)
"""What tests of every part, stream, model, ... say in their names of the examples' parts."""


def blocks(text: str, language: str) -> list[str]:
    """The code blocks of a language."""
    return re.findall(rf"^```{language}\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)


def copy_project(folder: Path) -> None:
    for name in COPIED:
        shutil.copytree(PROJECT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "README.md"):
        shutil.copy(PROJECT / name, folder)
    (folder / "reference").symlink_to(PROJECT / "reference")


def add(folder: Path, text: str) -> list[str]:
    """Do what a section says to the project in a folder; gives the names of the files that are new."""
    written = []
    for language in ("python", "yaml"):
        for block in blocks(text, language):
            name, content = re.fullmatch(r"# (\S+)\n(.*)", block, re.DOTALL).groups()  # type: ignore[union-attr]
            assert not (folder / name).exists()
            (folder / name).write_text(content)
            written.append(name)
    for block in blocks(text, "diff"):
        apply(folder, block)
    return written


def apply(folder: Path, block: str) -> None:
    """Apply a diff of one piece, whose unchanged lines say where."""
    first, *lines = block.splitlines()
    path = folder / first.removeprefix("--- ")
    before, after = ("".join(f"{line[1:]}\n" for line in lines if line[:1] in ("", " ", sign)) for sign in ("-", "+"))
    content = path.read_text()
    assert content.count(before) == 1, f"{path.name} has {content.count(before)} times:\n{before}"
    path.write_text(content.replace(before, after))


def python(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", *arguments]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)


def passes(folder: Path, *arguments: str) -> str:
    done = python(folder, *arguments)
    assert done.returncode == 0, done.stdout[-6000:] + done.stderr[-3000:]
    return done.stdout


def says(folder: Path, session: str) -> None:
    """The commands of a console print what stands below them."""
    for piece in re.split(r"^\$ psp ", session, flags=re.MULTILINE)[1:]:
        command, _, expected = piece.partition("\n")
        done = python(folder, "study", *command.split())
        pattern = ".*".join(map(re.escape, re.split(r"\.\.\.\n?", expected.strip("\n"))))
        printed = " ".join((done.stdout + done.stderr).split(" "))
        assert re.search(f"^{pattern}", printed, re.DOTALL), f"psp {command} prints\n{printed}\nnot\n{expected}"


@pytest.mark.parametrize(
    "title", [pytest.param(title, marks=() if title in FAST else pytest.mark.slow) for title in EXAMPLES]
)
def test_an_example_of_the_page_works_as_it_stands(title: str, tmp_path: Path) -> None:
    copy_project(tmp_path)
    written = add(tmp_path, SECTIONS[title])
    tests = [name for name in written if name.startswith("tests/")]
    assert tests
    passes(tmp_path, "pytest", "-q", "-p", "no:cacheprovider", *tests)
    for session in blocks(SECTIONS[title], "console"):
        says(tmp_path, session)


@pytest.mark.slow
def test_all_examples_together_pass_what_is_asked_of_the_projects_own_code(tmp_path: Path) -> None:
    copy_project(tmp_path)
    written = [name for title in EXAMPLES for name in add(tmp_path, SECTIONS[title])]
    sources = [name for name in written if name.endswith(".py")]
    passes(tmp_path, "ruff", "check", *sources, "psp_core", "analysis")
    passes(tmp_path, "ruff", "format", "--check", *sources)
    with tempfile.TemporaryDirectory() as cache:
        if (known := PROJECT / ".mypy_cache").is_dir():  # what `make check` has left: the examples' files are new
            shutil.copytree(known, cache, dirs_exist_ok=True)
        passes(tmp_path, "mypy", "--cache-dir", cache)
    passes(tmp_path, "study.pages")
    pytest_of = ("pytest", "-q", "-p", "no:cacheprovider", "-m", "not slow")
    passes(tmp_path, *pytest_of, *(f"tests/{name}" for name in GENERAL))
    out = passes(tmp_path, *pytest_of, "tests", "--ignore=tests/test_adding.py", "-k", NEW)
    assert int(out.rpartition(" passed")[0].split()[-1]) > 100

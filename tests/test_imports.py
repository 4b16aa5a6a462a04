"""Imports run one way: study -> psp_core, analysis -> the store's files; only two files know Ray."""

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
FORBIDDEN = {
    "psp_core": {"study", "analysis", "ray", "pandas", "seaborn", "matplotlib", "typer", "rich", "yaml", "pyarrow"},
    "study": {"ray", "analysis", "pandas", "seaborn", "matplotlib"},
    "analysis": {"psp_core", "study", "torch", "torchvision", "ray"},
}
ALLOWED = {
    ("study/tune.py", "ray"),
    ("study/connection.py", "ray"),
    ("study/cli.py", "analysis"),
    ("study/commands/results.py", "analysis"),
    ("study/commands/run.py", "analysis"),
    ("study/commands/report.py", "analysis"),
}


def imports(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name.partition(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module.partition(".")[0]


@pytest.mark.parametrize("package", FORBIDDEN)
def test_imports_run_one_way(package: str) -> None:
    files = list((ROOT / package).rglob("*.py"))
    assert files
    found = {(path.relative_to(ROOT).as_posix(), name) for path in files for name in imports(path)}
    assert {(path, name) for path, name in found if name in FORBIDDEN[package]} <= ALLOWED


@pytest.mark.parametrize(
    ("module", "absent"),
    [
        ("analysis.plot, analysis.compare", "torch ray psp_core matplotlib.pyplot"),
        ("study.shipped", "torch"),
        ("study.cli", "torch ray pandas seaborn matplotlib"),
        ("psp_core, psp_core.messages", "torch"),
        ("psp_core.training", "ray pandas seaborn torchvision sklearn"),
    ],
)
def test_what_is_slow_to_import_is_not_imported(module: str, absent: str) -> None:
    code = f"import sys, {module}; print(*[name for name in {absent.split()!r} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    assert done.stdout.split() == []


def test_public_names_are_there_though_they_are_imported_late() -> None:
    import psp_core

    for name in psp_core.__all__:
        assert getattr(psp_core, name) is not None
    with pytest.raises(AttributeError, match="has no attribute 'nothing'"):
        psp_core.nothing  # noqa: B018

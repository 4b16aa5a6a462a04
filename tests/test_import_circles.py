"""No module of `psp_core` imports itself by way of others, for typing or within functions neither.

A module is a node, a package's `__init__` too. `from psp_core.x import y` is an import of `psp_core.x.y` where that is
a module, else of `psp_core.x`; an import of a module is none of the packages that hold it, though Python runs their
`__init__` first. What stands in strings, such as names of modules for `import_module`, is not seen.
"""

import ast
from collections.abc import Iterator, Mapping
from graphlib import CycleError, TopologicalSorter
from itertools import pairwise
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]

Graph = dict[str, set[str]]


def module_name(path: Path, root: Path) -> str:
    """A file's module."""
    return ".".join(path.relative_to(root).with_suffix("").parts).removesuffix(".__init__")


def imported(tree: ast.AST, modules: Mapping[str, object]) -> Iterator[str]:
    """What a file imports, of these modules, wherever it does."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if alias.name in modules)
        elif isinstance(node, ast.ImportFrom):
            assert not node.level, "relative imports are not resolved here; name the module whole"
            for alias in node.names:
                whole = f"{node.module}.{alias.name}"
                yield from [name for name in (whole, node.module) if name in modules][:1]


def import_graph(root: Path, package: str) -> Graph:
    """What each module of a package imports of it."""
    paths = {module_name(path, root): path for path in (root / package).rglob("*.py")}
    return {name: set(imported(ast.parse(path.read_text()), paths)) - {name} for name, path in paths.items()}


def circle(graph: Graph) -> list[str]:
    """A way along imports from a module back to itself, or nothing where there is none."""
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        return list(reversed(error.args[1]))  # what is imported stands first there
    return []


@pytest.mark.parametrize("package", ["psp_core"])
def test_no_module_imports_itself_by_way_of_others(package: str) -> None:
    graph = import_graph(ROOT, package)
    assert len(graph) > 1
    assert not circle(graph), f"each of these imports the next: {' -> '.join(circle(graph))}"


def test_circles_are_found_wherever_imports_stand(tmp_path: Path) -> None:
    files = {
        "a/__init__.py": "def f():\n    from a.b import c\n",
        "a/b/__init__.py": "",
        "a/b/c.py": "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from a.d import x\n",
        "a/d.py": "import os\n",
    }
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    assert import_graph(tmp_path, "a") == {"a": {"a.b.c"}, "a.b": set(), "a.b.c": {"a.d"}, "a.d": set()}
    assert circle(import_graph(tmp_path, "a")) == []
    (tmp_path / "a/d.py").write_text("from a import f\n")
    ring = circle(import_graph(tmp_path, "a"))
    assert ring[0] == ring[-1]
    assert set(pairwise(ring)) == {("a", "a.b.c"), ("a.b.c", "a.d"), ("a.d", "a")}

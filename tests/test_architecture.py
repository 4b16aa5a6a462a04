"""Files and names that the documents speak of are there."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PAGES = ["docs/architecture.md", "docs/adding.md", "CONTRIBUTING.md"]
PACKAGES = ["", "psp_core", "study", "analysis", "benchmarks", "tests", "tests/psp_core", "tests/analysis", "docs"]
NAMED = re.compile(r"`([\w./-]+\.(?:py|md|csv|yaml)|[\w/]+/)(?:::(\w+))?`")
LINKED = re.compile(r"\]\(([\w./-]+)(?:#[\w-]+)?\)")
NO_FILES = {"utils.py"}
"""Which are named to say that there should be none."""


def found(name: str) -> list[Path]:
    """The files or folders that a name may mean: it is short where its package is plain."""
    places = [ROOT / package for package in PACKAGES]
    places += [
        folder for package in ("psp_core", "analysis") for folder in (ROOT / package).iterdir() if folder.is_dir()
    ]
    return [place / name for place in places if (place / name).exists()]


@pytest.mark.parametrize("page", PAGES)
def test_every_file_that_is_named_is_there(page: str) -> None:
    text = re.sub(r"```.*?```", "", (ROOT / page).read_text(), flags=re.DOTALL)
    named = [(name, inside) for name, inside in NAMED.findall(text) if name not in NO_FILES]
    assert named
    missing = [name for name, _ in named if not found(name)]
    assert not missing
    without = [
        f"{name}::{inside}"
        for name, inside in named
        if inside and not any(re.search(rf"\b{inside}\b", path.read_text()) for path in found(name))
    ]
    assert not without


@pytest.mark.parametrize("page", PAGES)
def test_every_link_leads_somewhere(page: str) -> None:
    links = LINKED.findall((ROOT / page).read_text())
    assert links
    assert not [link for link in links if not ((ROOT / page).parent / link).exists()]


@pytest.mark.parametrize("package", ["psp_core", "study", "analysis"])
def test_every_module_has_a_place_in_the_architecture(package: str) -> None:
    text = (ROOT / "docs" / "architecture.md").read_text()
    modules = {path.name for path in (ROOT / package).glob("*.py")} - {"__init__.py", "__main__.py"}
    assert not sorted(name for name in modules if not re.search(rf"[`/]{name}", text))

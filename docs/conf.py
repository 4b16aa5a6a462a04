"""The manual as a site: `make docs`, then open build/docs/index.html. Nothing is fetched by building or by reading."""

import re
import subprocess
import sys
from pathlib import Path

from sphinx.application import Sphinx

import study

ROOT = Path(__file__).parents[1]
PAGES = {"README.md": "index", "CONTRIBUTING.md": "contributing", "CHANGELOG.md": "changelog"}
"""Files of the project that are pages of the manual too."""

project = "psp-study"
release = version = study.__version__
extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon", "sphinx_copybutton"]
exclude_patterns = ["results-intro.md"]  # of which results.md is made
html_theme = "furo"
html_title = "psp-study"
html_show_copyright = False

myst_heading_anchors = 3
highlight_language = "none"
copybutton_prompt_text = "$ "

smartquotes = False  # two hyphens begin an option
default_role = "literal"  # docstrings have `code` in single quotes
autodoc_member_order = "bysource"
autodoc_typehints = "description"
autodoc_typehints_description_target = "documented_params"


def _add_what_is_elsewhere(app: Sphinx, page: str, source: list[str]) -> None:
    """Put the project's own files before what their pages have, and what typer says of every command on its page."""
    for file, name in PAGES.items():
        if name == page:
            text = (ROOT / file).read_text(encoding="utf-8")
            source[0] = re.sub(r"\]\((?!https?:|#)([\w./-]+)", _from_here, text) + f"\n{source[0]}"
    if page == "command-line":
        command = [sys.executable, "-m", "typer", "study.cli", "utils", "docs", "--name", "psp"]
        told = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout
        source[0] += told.partition("\n")[2]  # but for the title


def _from_here(link: re.Match[str]) -> str:
    """A link of a file of the project, as one of a page in this folder."""
    path = link[1]
    page = path.removeprefix("docs/") if path.startswith("docs/") else f"{PAGES[path]}.md" if path in PAGES else None
    return f"]({page or '../' + path}"


def _escape(app: Sphinx, what: str, name: str, of: object, options: object, lines: list[str]) -> None:
    """Leave stars, bars and underscores of docstrings as they are, outside of code: they mean themselves there."""
    for place, line in enumerate(lines):
        pieces = re.split(r"(`[^`]*`)", line)
        lines[place] = "".join(re.sub(r"([*|]|_\b)", r"\\\1", piece) if "`" not in piece else piece for piece in pieces)


def setup(app: Sphinx) -> None:
    """Connect both; docstrings come before napoleon, which reads their sections."""
    app.connect("source-read", _add_what_is_elsewhere)
    app.connect("autodoc-process-docstring", _escape, priority=400)

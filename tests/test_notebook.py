"""The notebook runs from its first cell to its last, on another store than the one that it was run on."""

from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

from tests.conftest import run_here, small_study

ROOT = Path(__file__).parent.parent
NOTEBOOK = ROOT / "notebooks" / "capacity.ipynb"
MOST_BYTES = 300_000


def images(notebook: nbformat.NotebookNode) -> int:
    return sum("image/png" in each.get("data", {}) for cell in notebook.cells for each in cell.get("outputs", []))


@pytest.mark.slow
def test_the_notebook_runs_on_a_store_of_three_widths(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run_here(small_study(axes={"context": ["none", "binary"], "width": [4, 8, 16]}), tmp_path / "out")
    monkeypatch.setenv("PSP_STORE", str(tmp_path / "out"))
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    kept = images(notebook)
    for cell in notebook.cells:
        if cell.cell_type == "code":
            cell.outputs = []
    NotebookClient(notebook, timeout=300, resources={"metadata": {"path": str(tmp_path)}}).execute()
    assert images(notebook) == kept == 5


def test_what_is_kept_of_it_is_small_and_names_no_place() -> None:
    text = NOTEBOOK.read_text()
    assert len(text) < MOST_BYTES
    for output in (each for cell in nbformat.reads(text, as_version=4).cells for each in cell.get("outputs", [])):
        words = str({kind: data for kind, data in output.get("data", {}).items() if kind != "image/png"})
        assert "/home/" not in words + output.get("text", "")
        assert "/tmp/" not in words + output.get("text", "")

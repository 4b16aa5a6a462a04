"""What the manual shows works as it stands: its studies are valid, its Python runs, its list of studies is whole."""

import re
from pathlib import Path

import pytest
import yaml

from study.shipped import shipped_studies
from study.spec import StudySpec

ROOT = Path(__file__).parents[1]


def blocks(page: str, language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", (ROOT / page).read_text(), re.MULTILINE | re.DOTALL)


STUDIES = [(page, text) for page in ("README.md", "docs/studies.md", "docs/tuning.md") for text in blocks(page, "yaml")]


@pytest.mark.parametrize(("page", "text"), STUDIES, ids=[f"{page}-{text[:20]!r}" for page, text in STUDIES])
def test_a_study_of_the_manual_is_valid(page: str, text: str) -> None:
    """Parts of studies are completed by a name; three lines that say the same are three studies."""
    lines = text.splitlines()
    pieces = lines if all(line.startswith("settings:") for line in lines) else [text]
    for piece in pieces:
        content = {"name": "piece"} | yaml.safe_load(piece)
        spec = StudySpec.from_mapping(content)
        assert spec.trials() or spec.tune


def test_three_ways_to_write_a_setting_are_one() -> None:
    (text,) = (text for page, text in STUDIES if text.count("settings:") == 3)
    trials = [StudySpec.from_mapping({"name": "one"} | yaml.safe_load(line)).trials() for line in text.splitlines()]
    assert trials[0] == trials[1] == trials[2]


@pytest.mark.parametrize(("page", "word"), [("README.md", "train"), ("docs/tutorial.md", "mlp")])
def test_the_manuals_training_runs(page: str, word: str) -> None:
    (text,) = (text for text in blocks(page, "python") if word in text)
    found: dict[str, object] = {}
    exec(text.replace("lr=3e-3", "lr=3e-3, steps_per_task=5"), found)
    assert found["result"].accuracy.shape == (5, 5)  # type: ignore[attr-defined]


def test_every_shipped_study_is_in_the_manual() -> None:
    page = (ROOT / "docs" / "shipped.md").read_text()
    assert not [name for name in shipped_studies() if f"`{name}`" not in page]


def test_a_newcomer_reads_the_readme_to_its_end() -> None:
    assert len((ROOT / "README.md").read_text().splitlines()) <= 110

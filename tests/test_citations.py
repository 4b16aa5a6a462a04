"""What is cited as `papers.md, A7` is a section of docs/papers.md."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGES = ("psp_core", "study", "analysis")
MENTION = re.compile(r"papers\.md(?![\])])")  # a link to the page is no citation
CITATION = re.compile(r"papers\.md,?(?: part)? ([AB]\d?(?:(?:,| and|, and) [AB]\d)*)")


def sections(text: str) -> set[str]:
    """The parts and sections that headings of a page begin with: A, A1, A2, ..."""
    return set(re.findall(r"^#{2,3} ([AB]\d?)\.? ", text, re.MULTILINE))


def cited(text: str) -> list[str]:
    """The sections that a text cites, also across its lines and through the marks of comments."""
    return re.findall(r"[AB]\d?", " ".join(CITATION.findall(_one_line(text))))


def _one_line(text: str) -> str:
    return re.sub(r"\s+#?\s*", " ", text)


def _sources() -> Iterator[Path]:
    for package in PACKAGES:
        yield from sorted(path for path in (ROOT / package).rglob("*") if path.suffix in {".py", ".yaml"})


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Source: one rule (papers.md, B4).", ["B4"]),
        ("(papers.md, B3 and B4)", ["B3", "B4"]),
        ("papers.md, A3, A7 and B5; of others A1", ["A3", "A7", "B5"]),
        ("    # as there (papers.md,\n    # A7 and\n    # A8).", ["A7", "A8"]),
        ("Paper B (SupSup, papers.md part B)", ["B"]),
    ],
)
def test_citations_are_found(text: str, expected: list[str]) -> None:
    assert cited(text) == expected


def test_every_citation_is_a_section() -> None:
    known = sections((ROOT / "docs" / "papers.md").read_text())
    pages = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
    wrong = {
        str(path.relative_to(ROOT)): missing
        for path in [*_sources(), *pages]
        if (missing := set(cited(path.read_text())) - known)
    }
    assert not wrong


def test_sources_name_the_section() -> None:
    texts = {path: _one_line(path.read_text()) for path in _sources()}
    mentions = sum(len(MENTION.findall(text)) for text in texts.values())
    assert mentions
    without = [str(path) for path, text in texts.items() if len(MENTION.findall(text)) > len(CITATION.findall(text))]
    assert not without

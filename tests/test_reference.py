"""The documents say what the parts say."""

import subprocess
import sys

import pytest

from psp_core.contexts import CONTEXTS
from psp_core.experiments import EXPERIMENTS
from psp_core.parts import every_setting
from psp_core.trial import Trial
from study.pages import ROOT, TABLES, pages, with_tables
from study.reading import StudyError
from study.reference import look_up
from study.settings_text import detail, overview

COLUMNS = sorted({one.column for _, one in every_setting(Trial)})
PARTS = sorted({(part.family, part.name) for part, _ in every_setting(Trial) if part.family})


@pytest.mark.parametrize("page", [path.relative_to(ROOT) for path in pages()], ids=str)
def test_a_page_is_what_the_parts_say(page: str) -> None:
    assert (ROOT / page).read_text(encoding="utf-8") == pages()[ROOT / page], "out of date: run make reference"


def test_a_page_has_every_context_with_its_bytes() -> None:
    lines = pages()[ROOT / "docs" / "contexts.md"].splitlines()
    for name, context in CONTEXTS.items():
        (line,) = (line for line in lines if line.startswith(f"| `{name}` |"))
        assert f"| {context().bytes_per_task(256):,} | {context().bytes_per_task(784):,} |" in line


def test_a_table_that_was_changed_by_hand_is_written_anew() -> None:
    page = (ROOT / "docs" / "store.md").read_text(encoding="utf-8")
    assert all(f"<!-- {table}: make reference -->" in page for table in TABLES)
    changed = page.replace("| `tasks_seen` |", "| `tasks_sene` |")
    assert changed != page
    assert with_tables(changed) == page


def test_the_stores_page_has_every_column_that_is_no_setting() -> None:
    text = pages()[ROOT / "docs" / "store.md"]
    settings = {one.column for root in EXPERIMENTS.values() for one in root.columns_of_settings()}
    columns = {column for schema in TABLES.values() for column in schema.names}
    assert {column for column in columns if f"| `{column}` |" not in text} <= settings
    assert "| `kept_bytes` |" in text
    assert "| `width` |" not in text


@pytest.mark.parametrize("column", COLUMNS)
def test_every_setting_has_a_text_and_can_be_looked_up(column: str) -> None:
    said = "\n".join(detail(column))
    one = Trial.setting_at(column)
    assert one.text
    assert one.text in said
    assert all(f" {choice}" in said for choice in one.choices)
    assert sum(line.split()[:1] == [column] for line in overview()) >= 1


@pytest.mark.parametrize(("family", "name"), PARTS)
def test_every_part_can_be_looked_up(family: str, name: str) -> None:
    assert any(line == f"{family}: {name}" for line in detail(name))
    assert [what for _, what, _ in look_up(f"{family}.{name}")] == ["part"]


def test_a_setting_is_found_by_its_path_too() -> None:
    assert list(detail("method.masks.sparsity")) == list(detail("masks.sparsity")) == list(detail("sparsity"))
    assert list(detail("method.masks")) == list(detail("masks"))


def test_a_name_of_several_things_is_all_of_them() -> None:
    said = list(detail("none"))
    assert {"context: none", "augmentation: none", "protect: none"} <= set(said)


def test_settings_of_retrieval_say_so() -> None:
    assert next(detail("num_draws")) == "Under kind: retrieval"
    assert "Under kind: retrieval" not in list(detail("width"))


def test_an_unknown_name_is_answered_with_the_nearest() -> None:
    with pytest.raises(StudyError, match=r"'sparcity' is neither a setting nor a part; did you mean 'sparsity'"):
        list(detail("sparcity"))


def test_the_program_prints_them_and_refuses_what_it_does_not_know() -> None:
    shown = subprocess.run([sys.executable, "-m", "study", "settings"], capture_output=True, text=True, check=True)
    assert shown.stdout.splitlines() == list(overview())
    unknown = subprocess.run([sys.executable, "-m", "study", "settings", "widht"], capture_output=True, text=True)
    assert unknown.returncode == 2
    assert "did you mean 'width'" in unknown.stderr

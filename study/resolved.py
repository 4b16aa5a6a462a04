"""A study with every setting said, defaults included: a study file of the same trials."""

from collections.abc import Iterator
from math import prod
from typing import Any, Final

from study.choices import choices_of, settled, written
from study.reading import Row
from study.spec import StudySpec
from study.yaml_text import in_one_line

UNSAID: Final = ("seed", "milestones")
"""Columns that follow from other keys of a study file, and have no place in a block of settings."""


def resolved(spec: StudySpec) -> dict[str, Any]:
    """The content of a study file that says every setting and has the same trials.

    What all trials have alike is in `settings`. What varies is in `axes`, and in `variants` what varies with something
    else; all of it there if the axes' values lead to other settings too, such as widths that follow from bytes.
    """
    rows = [_every_setting(spec, cell) for cell in spec.cells()]
    alike = {key: value for key, value in rows[0].items() if all(key in row and row[key] == value for row in rows)}
    axes = {key: list(dict.fromkeys(row[key] for row in rows)) for key in spec.axes if key not in alike}
    variants = _distinct(rows, {*alike, *axes})
    if len(variants) * prod(map(len, axes.values())) != len(_distinct(rows, alike)):
        axes, variants = {}, _distinct(rows, alike)
    blocks = {"variants": [written(row) for row in variants if row], "axes": axes, "settings": written(alike)}
    content = spec.to_mapping() | blocks | {"small": {}}
    return {key: value for key, value in content.items() if value}


def _every_setting(spec: StudySpec, cell: Row) -> Row:
    """The settings of a cell's trials, those that the study chooses as it may choose them."""
    chosen = choices_of(cell)
    columns = spec.root.from_flat(settled(cell)).columns()
    for key, choice in chosen.items():
        if spec.root.setting_at(key).part:  # whose own settings stand in the choice
            for value in choice.values:
                other = spec.root.from_flat(settled(cell) | {key: value}).columns()
                columns = {column: mine for column, mine in columns.items() if (column, mine) in other.items()}
    return {key: value for key, value in (columns | chosen).items() if key not in UNSAID}


def _distinct(rows: list[Row], without: Any) -> list[Row]:  # noqa: ANN401 - any collection of keys
    """The rows without these settings, each once."""
    left = [{key: value for key, value in row.items() if key not in without} for row in rows]
    return [row for place, row in enumerate(left) if row not in left[:place]]


def resolved_text(spec: StudySpec) -> Iterator[str]:
    """The lines of that file; a comment says which settings have their defaults because the study does not say them."""
    said = {*spec.settings, *spec.axes, *(key for variant in spec.variants for key in variant)}
    for key, value in resolved(spec).items():
        if key == "variants":
            yield "variants:"
            yield from (f"  - {in_one_line(row)}" for row in value)
        elif isinstance(value, dict):
            yield f"{key}:"
            notes = {one: "  # default" for one in value if key == "settings" and one not in said}
            yield from (f"  {one}: {in_one_line(each)}{notes.get(one, '')}" for one, each in value.items())
        else:
            yield f"{key}: {in_one_line(value)}"

"""What `psp settings` prints."""

import inspect
import shutil
import sys
import textwrap
from collections.abc import Iterator, Sequence

from psp_core.experiment import FIRST_KIND
from psp_core.experiments import EXPERIMENTS
from psp_core.parts import Part, settings_of
from study.reference import Entry, Section, in_short, look_up, own_entries, sections, summary, type_words, value_words


def overview() -> Iterator[str]:
    """A line for each setting, by the family of the parts that have it; wrapped on a terminal."""
    yield "Setting, what it says, [its default; other values]. More: psp settings NAME"
    column = 3 + max(len(entry.setting.column) for each in sections(EXPERIMENTS[FIRST_KIND]) for entry in each.entries)
    for kind, root in EXPERIMENTS.items():
        for section in sections(root):
            if section.head and kind != FIRST_KIND:
                continue  # its parts have stood above
            yield ""
            yield _title(kind, section, column)
            entries = section.entries if section.head else own_entries(section)
            yield from (_line(f"  {entry.setting.column}", entry, column) for entry in entries)


def _title(kind: str, section: Section, column: int) -> str:
    if section.head:
        return _line(section.title, section.head, column)
    return f"{kind:{column}}What every trial has" + ("" if kind == FIRST_KIND else f", under kind: {kind}")


def _line(name: str, entry: Entry, column: int) -> str:
    whose = f"({entry.few}) " if entry.few else ""
    text = f"{name:{column}}{whose}{in_short(entry.setting.text)} [{_values(entry)}]"
    return _wrapped(text, column)


def _values(entry: Entry) -> str:
    one, default = entry.setting, value_words(entry.setting.default)
    others = [name for name in one.choices if name != one.default]
    return f"{default}; {', '.join(others)}" if others else default


def detail(name: str) -> Iterator[str]:
    """All that is known of a setting, a part or a family of parts.

    Raises:
        StudyError: there is none of that name.
    """
    for index, (kind, what, found) in enumerate(look_up(name)):
        if index:
            yield ""
        if kind != FIRST_KIND:
            yield f"Under kind: {kind}"
        if what == "section":
            yield from _family(found)
        elif what == "entry":
            yield from _setting(found)
        else:
            section, part = found
            yield from _part(section, part)


def _family(section: Section) -> Iterator[str]:
    if section.head:
        yield from _setting(section.head)
    if section.entries:
        yield ""
        yield f"settings of {section.title}" if section.head else f"settings of every trial of {section.title}"
        yield from _entries(section.entries)


def _setting(entry: Entry) -> Iterator[str]:
    one = entry.setting
    yield one.column
    yield _wrapped(f"  {one.text}", 2)
    yield ""
    facts = {
        "default": value_words(one.default),
        "type": "" if one.choices else type_words(one),
        "rule": one.rule.text if one.rule else "",
        "of": _owners(entry),
        "path": entry.path if entry.path != one.column else "",
        "pack": "members may differ in it" if one.per_member else "all members have the same",
    }
    width = 2 + max(len(name) for name, fact in facts.items() if fact) + 2
    yield from (_wrapped(f"{f'  {name}':{width}}{fact}", width) for name, fact in facts.items() if fact)
    if one.part:
        yield ""
        yield "  can be"
        yield from _choices({name: summary(part) for name, part in one.part.known.items()})
    elif one.choices:
        yield _wrapped(f"{'  can be':{width}}{type_words(one)}", width)


def _owners(entry: Entry) -> str:
    if not entry.owners:
        return "every trial"
    family = entry.owners[0].family
    return f"every {family}" if entry.everyone else f"{family} {entry.whose}"


def _part(section: Section, part: type[Part]) -> Iterator[str]:
    yield f"{section.title}: {part.name}"
    yield textwrap.indent(inspect.getdoc(part) or "", "  ")
    entries = [Entry(one, one.name) for one in settings_of(part)]
    if entries:
        yield ""
        yield "settings"
        yield from _entries(entries)


def _entries(entries: Sequence[Entry]) -> Iterator[str]:
    column = 4 + max(len(entry.setting.column) for entry in entries)
    yield from (_line(f"  {entry.setting.column}", entry, column) for entry in entries)


def _choices(texts: dict[str, str]) -> Iterator[str]:
    column = 6 + max(map(len, texts))
    yield from (_wrapped(f"    {name:{column - 4}}{text}", column) for name, text in texts.items())


def _wrapped(text: str, column: int) -> str:
    """On a terminal as wide as it is; else one line, for programs that look for something."""
    if not sys.stdout.isatty():
        return text
    width = max(shutil.get_terminal_size().columns, column + 20)
    return textwrap.fill(text, width, subsequent_indent=column * " ", break_on_hyphens=False, break_long_words=False)

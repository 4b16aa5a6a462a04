"""What the parts say of themselves: every setting and everything that can be chosen, for people to look up."""

import inspect
import re
import types
from collections.abc import Iterator
from dataclasses import MISSING, dataclass, field
from typing import Any, Final, Literal, get_args, get_origin

from psp_core.experiment import FIRST_KIND, Experiment
from psp_core.experiments import EXPERIMENTS
from psp_core.messages import did_you_mean
from psp_core.parts import LISTED_IN, Part, Setting, settings_of
from study.reading import StudyError

FEW: Final = 3
"""So many names stand beside a setting in a list."""
_NAMES: Final = {int: "a whole number", float: "a number", bool: "true or false", str: "a text"}


@dataclass(frozen=True)
class Entry:
    """A setting where it stands.

    Attributes:
        setting: what it is.
        path: by which it can be given from the root of a trial.
        owners: the parts that have it, by family and name; empty of what every trial has.
        everyone: whether all parts of the family have it.
    """

    setting: Setting
    path: str
    owners: tuple[type[Part], ...] = ()
    everyone: bool = True

    @property
    def whose(self) -> str:
        """The parts that have it, where not all of their family do."""
        return "" if self.everyone else ", ".join(part.name for part in self.owners)

    @property
    def few(self) -> str:
        """The same where these are few."""
        return self.whose if self.everyone or len(self.owners) <= FEW else f"{len(self.owners)} of them"


@dataclass
class Section:
    """The settings of one family of parts, or of the root.

    Attributes:
        title: of the family, or the kind of trials.
        head: the setting that chooses a part of the family; None of a root.
        parts: what can be chosen, by name.
        entries: the settings of those.
    """

    title: str
    head: Entry | None = None
    parts: dict[str, type[Part]] = field(default_factory=dict)
    entries: list[Entry] = field(default_factory=list)


def sections(root: type[Experiment]) -> list[Section]:
    """The settings of a tree of parts: those of the root, then those of each family, in the order of the fields."""
    first = Section(root.kind)
    found = {first.title: first}
    _gather(root, first, "", found)
    return list(found.values())


def _gather(kind: type[Part], section: Section, path: str, found: dict[str, Section]) -> None:
    parts = list(kind.known.values()) if kind.family else [kind]
    having: dict[str, list[tuple[type[Part], Setting]]] = {}
    for part in parts:
        for one in settings_of(part):
            having.setdefault(one.name, []).append((part, one))
    families = []
    for name, owned in having.items():
        one, owners = owned[0][1], tuple(part for part, _ in owned if part.family)
        entry = Entry(one, f"{path}{name}", owners, len(owned) == len(parts))
        if one.part is None:
            section.entries.append(entry)
        elif one.column not in found:
            found[one.column] = Section(one.column, entry, dict(one.part.known))
            families.append((one.part, found[one.column]))
    for family, its in families:  # after all of them have their sections: a family stands by its shortest path
        _gather(family, its, f"{its.head.path}." if its.head else "", found)


def own_entries(section: Section) -> list[Entry]:
    """The settings of a root, without those that it has of the first kind."""
    if section.title == FIRST_KIND:
        return section.entries
    (first, *_) = sections(EXPERIMENTS[FIRST_KIND])
    usual = [entry.setting for entry in first.entries]
    return [entry for entry in section.entries if entry.setting not in usual]


def summary(part: type[Part]) -> str:
    """The first line of what a part says of itself."""
    return (inspect.getdoc(part) or "").partition("\n")[0]


def in_short(text: str) -> str:
    """A text up to its first full stop, colon or semicolon."""
    return re.split(r"[.:;](?:\s|$)", text, maxsplit=1)[0]


def type_words(one: Setting) -> str:
    """What a value may be: the choices, the usual one first, or the type."""
    if one.choices:
        usual = [one.default] if one.default in one.choices else []
        return ", ".join([*usual, *(name for name in one.choices if name not in usual)])
    kind = one.kind
    if isinstance(kind, types.UnionType):
        return f"{_NAMES[get_args(kind)[0]]}, or none"
    if get_origin(kind) is tuple:
        return "whole numbers"
    return _NAMES[kind]


def value_words(value: Any) -> str:  # noqa: ANN401 - of any setting
    """A value as a study file has it."""
    if value is MISSING:
        return "has to be given"
    if value is None or value == ():
        return "none"
    if isinstance(value, bool):
        return str(value).lower()
    return f"{value:g}" if isinstance(value, float) else str(value)


Found = tuple[str, Literal["section", "entry", "part"], Any]
"""The kind of trials, what was found there, and the section, the entry, or the family's name with the part."""


def look_up(name: str) -> list[Found]:
    """Everything of that name: settings, parts and families.

    Args:
        name: a setting's short name or path, a part, a family, or a part after the path of its family.

    Raises:
        StudyError: there is nothing; the message gives what is near.
    """
    found, known = list[Found](), dict[str, None]()
    for kind, root in EXPERIMENTS.items():
        for section in sections(root):
            found += list(_named(name, kind, section))
            known |= dict.fromkeys([section.title, *section.parts, *(one.setting.column for one in section.entries)])
        if found:  # other kinds only add what training does not have
            break
    if not found:
        raise StudyError(f"{name!r} is neither a setting nor a part; {did_you_mean(name, known, LISTED_IN)}")
    return found


def _named(name: str, kind: str, section: Section) -> Iterator[Found]:
    family, _, last = name.rpartition(".")
    head = {section.title, section.head.path} if section.head else {section.title}
    if name in head:
        yield kind, "section", section
    for entry in section.entries:
        within = {f"{prefix}.{entry.setting.name}" for prefix in head}
        if name in (entry.setting.column, entry.path) or name in within:
            yield kind, "entry", entry
    for part_name, part in section.parts.items():
        if part_name == last and (not family or family in head):
            yield kind, "part", (section, part)

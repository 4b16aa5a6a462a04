"""What a trial is made of: parts, which a study chooses by name and whose fields are its settings.

A field is the one source of a setting: its type gives choices and conversion, its rule the check, its default what a
study need not say, its column the trial store's schema, its text the reference. Everything else is made from these.
"""

import dataclasses
import types
from abc import ABC
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, fields
from functools import cache
from types import MappingProxyType
from typing import (
    Any,
    ClassVar,
    Final,
    Literal,
    NamedTuple,
    Self,
    dataclass_transform,
    get_args,
    get_origin,
    get_type_hints,
)

from psp_core.messages import did_you_mean, lookup
from psp_core.values import converted

LISTED_IN: Final = "psp settings"
"""The command that lists all settings."""


class Rule(NamedTuple):
    """What must hold of a setting's value.

    Attributes:
        holds: whether a value keeps the rule.
        text: the rule and the remedy, to be read after `name=value`.
    """

    holds: Callable[[Any], bool]
    text: str


@dataclass(frozen=True, kw_only=True)
class Setting:
    """One setting of a part, as its field declares the setting.

    Attributes:
        name: of the field, which the nested form of a study uses.
        column: of the trial store, which is the setting's short name.
        kind: the type of its values; `Part` classes are in `part`.
        part: the family of parts that it chooses one of, else None.
        default: its usual value; `dataclasses.MISSING` where every study has to say one.
        text: what the reference says of the setting.
        rule: what must hold of a value, if its type says too little.
        per_member: whether the members of a pack may differ in it.
        label: what a curve's label says of a value that is not the default, to be formatted with the value, or by
            value; None where labels do not speak of the setting.
        says_default: whether the label speaks of the default too.
        tells: whether trials that differ in this setting alone are different experiments.
    """

    name: str
    column: str
    kind: Any
    part: "type[Part] | None"
    default: Any
    text: str
    rule: Rule | None
    per_member: bool
    label: str | Mapping[Any, str] | None
    says_default: bool
    tells: bool

    @property
    def choices(self) -> list[str]:
        """The names that a value may be; empty where it may be any of its type."""
        if self.part:
            return list(self.part.known)
        return list(get_args(self.kind)) if get_origin(self.kind) is Literal else []

    def checked(self, value: object) -> Any:  # noqa: ANN401 - whatever the setting's type is
        """The value as the setting's type.

        Raises:
            ValueError: the value is not of that type, or breaks the rule.
        """
        if self.part:
            return self.part.named(value).name
        if value is None and isinstance(self.kind, types.UnionType):
            return None
        value = converted(self.column, self.kind, value)
        if self.rule and not self.rule.holds(value):
            raise ValueError(f"{self.column}={value} {self.rule.text}")
        return value

    def said(self, value: object) -> str | None:
        """The piece of a curve's label for a value; None where the label does not speak of it."""
        if self.label is None or (value == self.default and not self.says_default):
            return None
        return self.label.format(value) if isinstance(self.label, str) else self.label[value]


def setting(
    default: Any = dataclasses.MISSING,  # noqa: ANN401 - of the field's type
    text: str = "",
    *,
    rule: Rule | None = None,
    column: str | None = None,
    per_member: bool = False,
    label: str | Mapping[Any, str] | None = None,
    says_default: bool = False,
    tells: bool = True,
) -> Any:  # noqa: ANN401 - the field's type
    """Declare a setting; see `Setting`. Without `column` it is the field's name after that of the family."""
    about = {"text": text, "rule": rule, "column": column, "per_member": per_member, "tells": tells}
    return field(default=default, metadata=about | {"label": label, "says_default": says_default})


@dataclass_transform(kw_only_default=True, frozen_default=True, field_specifiers=(setting,))
class Part(ABC):  # noqa: B024 - its families have abstract methods
    """Something that a study chooses by name, such as a context. Its fields are its settings.

    A subclass with `family` begins a family; its subclasses with `name` are what can be chosen there.

    Attributes:
        family: what the part is one of, which is also the column of the trial store that holds its name.
        name: as a study chooses it.
        formerly: what the name was when the first trials were stored; their ids hold that name.
        known: the parts of the family, by name.
        implies: columns of the store that belong to no setting of this part, with the values that it has there.
    """

    family: ClassVar[str] = ""
    name: ClassVar[str] = ""
    formerly: ClassVar[str] = ""
    known: ClassVar[dict[str, Any]] = {}
    implies: ClassVar[Mapping[str, Any]] = MappingProxyType({})

    def __init_subclass__(cls, *, family: str = "", name: str = "", formerly: str = "") -> None:
        """Make the subclass a frozen dataclass, and enter it into its family's registry."""
        super().__init_subclass__()
        dataclass(frozen=True, kw_only=True)(cls)
        if family:
            cls.family, cls.known = family, {}
        if name:
            cls.name, cls.formerly, cls.known[name] = name, formerly or name, cls
            every_setting.cache_clear()
            by_column.cache_clear()

    def __post_init__(self) -> None:
        """Convert and check each setting by itself."""
        for one in settings_of(type(self)):
            value = getattr(self, one.name)
            object.__setattr__(self, one.name, one.part.read(value) if one.part else one.checked(value))

    @classmethod
    def named(cls, name: object) -> type[Self]:
        """The part of this family that has the name, today's or the former.

        Raises:
            ValueError: no part has; the message gives the nearest and all.
        """
        if not isinstance(name, str):
            hint = " (an empty value means no value: quote it if you meant a name)" if name is None else ""
            raise ValueError(f"{cls.family}={name!r} must be a name{hint}; {did_you_mean(name, cls.known)}")
        if name not in cls.known:
            before = {part.formerly: part for part in cls.known.values()}
            name = before[name].name if name in before else name
        found: type[Self] = lookup(cls.family, name, cls.known)
        return found

    @classmethod
    def read(cls, given: object) -> Self:
        """A part of this family: itself, its name, or a mapping such as `{name: top-k, sparsity: 8}`.

        Raises:
            ValueError: an unknown name or setting, a value that breaks its rule, or a setting that is missing.
        """
        if isinstance(given, cls):
            return given
        row, used = flattened(cls, given), set[str]()
        part = cls.from_columns(row, used, "")
        for column in row.keys() - used:
            raise ValueError(f"{column}={row[column]!r} does not apply to {part.family}={part.name!r}; leave it out.")
        return part

    @classmethod
    def from_columns(cls, row: Mapping[str, Any], used: set[str], default: str) -> Self:
        """The part of this family that a row of settings says.

        Args:
            row: settings by column; those of other parts are passed over.
            used: what is read is added here.
            default: the part's name where the row does not say one.

        Raises:
            ValueError: as `read`.
        """
        part, given = cls.named_by(row, default), dict[str, Any]()
        used.add(cls.family)
        for one in settings_of(part):
            if one.part:
                given[one.name] = one.part.from_columns(row, used, one.default)
            elif one.column in row and not (row[one.column] is None and one.default is dataclasses.MISSING):
                used.add(one.column)
                given[one.name] = row[one.column]
            elif one.default is dataclasses.MISSING:
                raise ValueError(f"{part.family}={part.name!r} needs {one.column}: {one.text}")
        return part(**given)

    @classmethod
    def named_by(cls, row: Mapping[str, Any], default: str) -> type[Self]:
        """The part that a row of settings names, or that claims the row."""
        claimed: list[type[Self]] = [part for part in cls.known.values() if part.claims(row)]
        return claimed[0] if claimed else cls.named(row.get(cls.family, default))

    @classmethod
    def claims(cls, row: Mapping[str, Any]) -> bool:
        """Whether a row means this part though it has another's name, as rows of before the part had a name may."""
        return False

    def settings(self) -> Iterator[tuple[Setting, Any]]:
        """Each setting of this part and of the parts in it, with its value; of a part, the part."""
        for one in settings_of(type(self)):
            value = getattr(self, one.name)
            yield one, value
            if one.part:
                yield from value.settings()

    def columns(self, *, first_names: bool = False) -> dict[str, Any]:
        """This part and the parts in it as a row of the trial store.

        Args:
            first_names: whether parts that were renamed have their former names, as ids do.
        """
        row: dict[str, Any] = {self.family: self.formerly if first_names else self.name} if self.family else {}
        for one in settings_of(type(self)):
            value = getattr(self, one.name)
            row |= value.columns(first_names=first_names) if one.part else {one.column: value}
        return row | dict(self.implies)

    def shared(self) -> dict[str, Any]:
        """What members of a pack must have alike, by column: the part, and its settings that are not `per_member`."""
        row: dict[str, Any] = {self.family: self.name} if self.family else {}
        for one in settings_of(type(self)):
            if not one.per_member:
                value = getattr(self, one.name)
                row |= value.shared() if isinstance(value, Part) else {one.column: value}
        return row

    def pieces(self) -> dict[str, str]:
        """What a curve's label says of this part's settings, by column, in order; see `Setting.label`."""
        values = self.columns()
        pieces = {one.column: one.said(values[one.column]) for one, _ in self.settings()}
        return {column: piece for column, piece in pieces.items() if piece is not None}

    def apart(self) -> dict[str, Any]:
        """The settings that are not at their defaults and tell experiments apart, by column; of a part its name."""
        values = self.columns()
        own = {one.column: one for one, _ in self.settings() if one.tells}
        return {column: values[column] for column, one in own.items() if values[column] != one.default}


@cache
def settings_of(part: type[Part]) -> tuple[Setting, ...]:
    """The settings of a kind of part, in order."""
    hints = get_type_hints(part)
    return tuple(_setting(part, each, hints[each.name]) for each in fields(part))  # type: ignore[arg-type]


def _setting(part: type[Part], each: "dataclasses.Field[Any]", kind: Any) -> Setting:  # noqa: ANN401
    about = dict(each.metadata)
    chosen = kind if isinstance(kind, type) and issubclass(kind, Part) else None
    column = about.pop("column") or (f"{part.family}_{each.name}" if part.family else each.name)
    column = chosen.family if chosen else column
    return Setting(name=each.name, column=column, kind=kind, part=chosen, default=each.default, **about)


def flattened(kind: type[Part], given: object) -> dict[str, Any]:
    """The columns for what a study says of a part, nested or not.

    Raises:
        ValueError: an unknown name or setting, or something that is neither a name nor a mapping.
    """
    if isinstance(given, str):
        return {kind.family: kind.named(given).name}
    if isinstance(given, Part):
        return given.columns()
    if not isinstance(given, Mapping):
        return {kind.family: given} if isinstance(given, list) else {kind.family: kind.named(given).name}
    row: dict[str, Any] = {}
    parts = list(kind.known.values()) if kind.family else [kind]
    content = dict(given)
    if kind.family and "name" in content:
        parts = [kind.named(content.pop("name"))]
        row[kind.family] = parts[0].name
    known = {one.name: one for part in parts for one in settings_of(part)}
    for key, value in content.items():
        if key not in known:
            whose = f"{kind.family}={parts[0].name!r}" if row else kind.family
            raise ValueError(f"{key!r} is not a setting of {whose}; {_elsewhere(kind, key, known)}")
        one = known[key]
        row |= flattened(one.part, value) if one.part else {one.column: value}
    return row


def _elsewhere(kind: type[Part], key: object, known: Mapping[str, Setting]) -> str:
    """What to write in place of a setting that a part does not have."""
    called = next((one.name for one in known.values() if one.column == key), None)
    if called:
        return f"there it is called {called!r}."
    others = [repr(part.name) for part in kind.known.values() if key in {one.name for one in settings_of(part)}]
    if others:
        return f"leave it out, or use {' or '.join(others)}, which {'have' if len(others) > 1 else 'has'} it."
    return did_you_mean(key, known) if known else "it has none: leave it out."


@cache
def every_setting(kind: type[Part]) -> tuple[tuple[type[Part], Setting], ...]:
    """Each setting that parts of a kind can have, those of parts in parts included, with the part that has it."""
    found: list[tuple[type[Part], Setting]] = []
    for part in kind.known.values() if kind.family else [kind]:
        for one in settings_of(part):
            found += [(part, one), *(every_setting(one.part) if one.part else ())]
    return tuple(found)


@cache
def by_column(kind: type[Part]) -> dict[str, list[tuple[type[Part], Setting]]]:
    """The same by the settings' short names."""
    found: dict[str, list[tuple[type[Part], Setting]]] = {}
    for part, one in every_setting(kind):
        found.setdefault(one.column, []).append((part, one))
    return found

"""The root of a tree of parts: what a study makes of its settings, such as a trial."""

from collections.abc import Iterator, Mapping
from dataclasses import MISSING
from types import MappingProxyType
from typing import Any, ClassVar, Self

from psp_core.messages import did_you_mean
from psp_core.parts import LISTED_IN, Part, Setting, by_column, every_setting, flattened, settings_of


class Root(Part):
    """A part that no other part has: it belongs to no family and has no name.

    Every setting in the tree has a short name, its column, under which it can be given without the parts above it.

    Attributes:
        at_first: settings with the defaults that they had when the first trials were stored, if those are frozen.
    """

    at_first: ClassVar[Mapping[str, Any]] = MappingProxyType({})

    @classmethod
    def from_flat(cls, given: Mapping[str, Any]) -> Self:
        """The tree of settings by their short names, nested, or both; those that are missing are at their defaults.

        Raises:
            ValueError: an unknown setting, one that does not apply, a value that breaks its rule, or settings that do
                not go together.
        """
        row = cls.flat(given)
        return cls._made(row, row)

    def replaced(self, **settings: object) -> Self:
        """The tree with other settings. What belongs to parts that it no longer has goes.

        Raises:
            ValueError: as `from_flat`.
        """
        new = self.flat(settings)
        return self._made(self.columns() | new, new)

    @classmethod
    def _made(cls, row: Mapping[str, Any], said: Mapping[str, Any]) -> Self:
        """The tree that a row says. A setting that was said and that no part has is refused."""
        used = set[str]()
        root = cls.from_columns(row, used, "")
        if left := said.keys() - used:
            columns = root.columns()
            for column in left:
                root._refuse(column, said[column], columns)
        return root

    @classmethod
    def named_by(cls, row: Mapping[str, Any], default: str) -> type[Self]:
        """This root: no row names another."""
        return cls

    def _refuse(self, column: str, value: object, columns: Mapping[str, Any]) -> None:
        """Refuse a setting that none of the parts has, unless it says nothing: that is the one rule of what applies."""
        if value == columns.get(column, self.at_first.get(column)):
            return
        named = self.settings_named(column)
        if column not in self.at_first and value in [one.default for _, one in named]:
            return
        owners = [part for part, _ in named if part.family]
        in_tree = [part.family for part in owners if part.family in columns]
        family = in_tree[-1] if in_tree else owners[0].family  # the nearest: the innermost that has another form
        names = " or ".join(dict.fromkeys(repr(part.name) for part in owners if part.family == family))
        if family in columns:
            raise ValueError(
                f"{column}={value!r} does not apply to {family}={columns[family]!r}; leave it out, or use {names}."
            )
        (host, *_) = [part for part, _ in self.settings_named(family) if part.family]
        raise ValueError(
            f"{column}={value!r} does not apply to {host.family}={columns.get(host.family)!r}; leave it out, or use "
            f"{family} {names} of {host.family} {host.name!r}."
        )

    @classmethod
    def flat(cls, given: Mapping[str, Any]) -> dict[str, Any]:
        """Settings by their short names, for settings given so, nested, or by dotted paths such as `model.width`.

        Raises:
            ValueError: one is not known, or given twice.
        """
        row: dict[str, Any] = {}
        said_by: dict[str, str] = {}
        for key, value in given.items():
            one = cls.setting_at(key)
            more = flattened(one.part, value) if one.part else {one.column: value}
            for column in more.keys() & row.keys():
                raise ValueError(f"{column!r} is given twice, by {said_by[column]!r} and by {key!r}: keep one.")
            row |= more
            said_by |= dict.fromkeys(more, key)
        return row

    @classmethod
    def setting_at(cls, key: str) -> Setting:
        """The setting of a short name, or at the end of a dotted path: `width`, `model.width`, `method.masks.sparsity`.

        Raises:
            ValueError: there is none; the message says at which step, and what is near.
        """
        if not isinstance(key, str) or "." not in key:
            if key not in by_column(cls):
                raise ValueError(f"{key!r} is not a setting; {did_you_mean(key, by_column(cls), LISTED_IN)}")
            return cls.settings_named(key)[0][1]
        first, *steps = key.split(".")
        families = {one.column: one for _, one in every_setting(cls) if one.part}
        if first not in families:
            raise ValueError(f"{key!r} leads nowhere: {first!r} is no part; {did_you_mean(first, families)}")
        one, path = families[first], first
        for step in steps:
            parts = one.part.known.values() if one.part else ()
            known = {each.name: each for part in parts for each in settings_of(part)}
            if not known:
                raise ValueError(f"{key!r} leads nowhere: {path!r} has no settings of its own; use {path!r}.")
            if step not in known:
                raise ValueError(f"{key!r} leads nowhere: {path!r} has no {step!r}; {did_you_mean(step, known)}")
            one, path = known[step], f"{path}.{step}"
        return one

    @classmethod
    def settings_named(cls, column: str) -> list[tuple[type[Part], Setting]]:
        """The settings of that short name, with the parts that have them."""
        return by_column(cls)[column]

    @classmethod
    def columns_of_settings(cls) -> Iterator[Setting]:
        """Every setting in such trees, each column once."""
        return (owned[0][1] for owned in by_column(cls).values())

    @classmethod
    def check_setting(cls, key: str, value: object) -> Any:  # noqa: ANN401 - whatever the setting's type is
        """A value as the type of the setting of that short name. None stands for a setting that is not given.

        Raises:
            ValueError: unknown setting, wrong type, or out of range.
        """
        one = cls.setting_at(key)
        return None if value is None and one.default is MISSING else one.checked(value)

    @property
    def chosen(self) -> dict[str, Any]:
        """The settings that are not at their first defaults, by the names that were first: what ids are made of."""
        return self.chosen_with()

    def chosen_with(self, **instead: object) -> dict[str, Any]:
        """The same with these settings in place of its own, whether or not there can be such a trial."""
        usual = {one.column: one.default for one, _ in self.settings()} | dict(self.at_first)
        columns = self.columns(first_names=True) | instead
        return {name: value for name, value in columns.items() if value != usual.get(name, MISSING)}

"""Reads what a study says of settings: by short names, by paths or as parts with settings of their own.

A list in a place of one value makes trials for each: of `settings` it is one more axis, a variant becomes several.
The values of an axis are listed, or drawn (`study.choices.drawn_values`).
"""

from collections.abc import Mapping
from functools import partial
from typing import Any

from psp_core.parts import Part
from psp_core.root import Root
from study.choices import KINDS, Choice, NamedPart, drawn_values

Row = dict[str, Any]
"""Settings by their short names."""


class StudyError(ValueError):
    """A study cannot run as written; the message names key, value, rule and remedy."""


class Reader:
    """Reads and checks the settings of a study whose trials are of one kind.

    Every method raises `StudyError` where a setting is not known, given twice or of a wrong value.

    Args:
        root: what a trial is.
        chooses: whether the study may choose settings by itself (`study.choices`).
    """

    def __init__(self, root: type[Root], *, chooses: bool = False) -> None:
        """Read settings of such trials."""
        self.root, self.chooses = root, chooses

    def settings(self, content: Mapping[str, Any]) -> tuple[Row, dict[str, list[Any]]]:
        """The settings that trials share, and those that were given a list."""
        row = self.short("settings", mapping(content, "settings"))
        shared = {key: self.value("settings", key, value) for key, value in row.items() if not isinstance(value, list)}
        return shared, {key: self.values("settings", key, row[key]) for key in row.keys() - shared.keys()}

    def axes(self, content: Mapping[str, Any]) -> dict[str, list[Any]]:
        """The settings that vary alone, with their values."""
        row = self.short("axes", mapping(content, "axes"))
        return {key: self.values("axes", key, self._listed(key, values)) for key, values in row.items()}

    def _listed(self, key: str, values: object) -> object:
        """The values of an axis; drawn, where the study says how."""
        one = self.root.setting_at(key)
        if not isinstance(values, Mapping) or one.part:
            return values
        try:
            return drawn_values(key, values, one.checked)
        except ValueError as error:
            raise StudyError(f"axes: {key}: {error}") from None

    def variants(self, content: Mapping[str, Any]) -> list[Row]:
        """The settings that vary together."""
        variants = content.get("variants") or []
        if not isinstance(variants, list) or not all(isinstance(variant, Mapping) and variant for variant in variants):
            raise StudyError(f"variants={variants!r} must be a list of mappings of settings to values.")
        rows = [row for variant in variants for row in self._each(variant)]
        for row in rows:
            if rows.count(row) > 1:
                raise StudyError(f"variants lists {row!r} twice; list each once.")
        return rows

    def _each(self, variant: Mapping[str, Any]) -> list[Row]:
        """A variant, once for each combination of what it lists."""
        row = self.short("variants", variant)
        for key, values in row.items():
            if isinstance(values, list):
                _refuse_empty("variants", key, values)
                return [each for value in values for each in self._each({**row, key: value})]
        return [{key: self.value("variants", key, value) for key, value in row.items()}]

    def short(self, where: str, given: Mapping[str, Any]) -> Row:
        """Settings by their short names."""
        rest, chosen = self._chosen_parts(given)
        try:
            row = self.root.flat(rest)
        except ValueError as error:
            raise StudyError(f"{where}: {error}") from None
        for column in chosen.keys() & row.keys():
            raise StudyError(f"{where}: {column!r} is given twice, once to be chosen: keep one.")
        return row | chosen

    def _chosen_parts(self, given: Mapping[str, Any], path: str = "") -> tuple[Row, Row]:
        """The settings but for parts that the study chooses, wherever these stand; and these, by their short names."""
        rest, chosen = Row(), Row()
        for key, value in given.items():
            here = f"{path}.{key}" if path else key
            if _is_choice(value):
                if (one := self._part_at(here)) is not None:
                    chosen[one] = value
                    continue
            elif isinstance(value, Mapping):
                value, more = self._chosen_parts(value, here)
                chosen |= more
            rest[key] = value
        return rest, chosen

    def _part_at(self, path: str) -> str | None:
        """The short name of the setting there, if that chooses a part."""
        try:
            one = self.root.setting_at(path)
        except ValueError:  # which is said with its place
            return None
        return one.column if one.part else None

    def short_name(self, where: str, key: str) -> str:
        """The short name of a setting that is given by it, or by its path."""
        try:
            return self.root.setting_at(key).column
        except ValueError as error:
            raise StudyError(f"{where}: {error}") from None

    def values(self, where: str, key: str, values: object) -> list[Any]:
        """Several values of one setting, or of `seeds`."""
        _refuse_empty(where, key, values)
        assert isinstance(values, list)
        checked = [self.value(where, "seed" if key == "seeds" else key, value) for value in values]
        for value in checked:
            if checked.count(value) > 1:
                raise StudyError(f"{where} {key} lists {value!r} twice; list each value once.".strip())
        return checked

    def value(self, where: str, key: str, value: object) -> Any:  # noqa: ANN401  (a value from a YAML file)
        """One value of a setting."""
        if key == "milestones":
            raise StudyError("milestones is not set by hand: give num_tasks several values, as an axis.")
        if key == "seed" and where in ("axes", "settings", "variants"):
            raise StudyError(f"seed is not set in {where}: list the seeds under the key 'seeds'.")
        if isinstance(value, Choice | Mapping) and (_is_choice(value) or not self.root.setting_at(key).part):
            return self._choice(where, key, value)
        if isinstance(value, Mapping):
            raise StudyError(
                f"{where} {key} lists {dict(value)!r}, which has settings of its own: list it in variants, "
                "where settings vary together."
            )
        try:
            return self.root.check_setting(key, value)
        except ValueError as error:
            raise StudyError(f"{where}: {error}".removeprefix(": ")) from None

    def _choice(self, where: str, key: str, value: Choice | Mapping[str, Any]) -> Choice:
        """A setting that the study chooses by itself."""
        if where not in ("settings", "variants"):
            raise StudyError(f"{where} {key} has one value, and the study chooses no other there: give it.")
        if not self.chooses:
            raise StudyError(
                f"{where}: {key}={value!r} would be chosen by the study, which has no block 'tune' that says how; add "
                "it, or give a value."
            )
        if isinstance(value, Choice):
            return value
        one = self.root.setting_at(key)
        try:
            return Choice.read(value, partial(_part, one.part) if one.part else one.checked)
        except ValueError as error:
            raise StudyError(f"{where}: {key}: {error}") from None


def _is_choice(value: object) -> bool:
    return isinstance(value, Choice) or (isinstance(value, Mapping) and any(key in KINDS for key in value))


def _part(family: type[Part], value: object) -> str | NamedPart:
    """A part among which a study chooses: its name, with settings of its own if it is given any.

    Raises:
        ValueError: as `Part.read`.
    """
    if not isinstance(value, Mapping):
        return family.named(value).name
    name = family.named(value.get("name")).name
    family.read(value)
    return NamedPart({**value, "name": name}) if len(value) > 1 else name


def mapping(content: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    """The mapping that a study has under a key; empty where it has none.

    Raises:
        StudyError: it has something else there.
    """
    value = content.get(key)
    if value is None:
        return {}
    if not isinstance(value, Mapping):
        raise StudyError(f"{key}={value!r} must be a mapping of settings to values.")
    return value


def _refuse_empty(where: str, key: str, values: object) -> None:
    if not isinstance(values, list) or not values:
        example = f"[{values}]" if isinstance(values, str | int | float) else "[1, 2]"
        raise StudyError(f"{where} {key}={values!r} must be a list of at least one value, such as {example}.".strip())

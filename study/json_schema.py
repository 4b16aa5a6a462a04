"""The JSON schema of study files, made from the parts, so that editors complete, explain and check what is typed."""

import types
from collections.abc import Collection, Iterable, Iterator
from dataclasses import MISSING
from itertools import count
from typing import Any, Final, get_args

from psp_core.experiment import FIRST_KIND, Experiment
from psp_core.experiments import EXPERIMENTS
from psp_core.parts import Part, Setting, by_column, every_setting, settings_of
from study.choices import KINDS
from study.reference import summary, value_words
from study.resolved import UNSAID
from study.spec import NAME, PROVENANCE, SMALL_KEYS
from study.tuning import SEARCHES

Schema = dict[str, Any]

_NUMERAL: Final = r"^[-+]?[0-9_]*\.?[0-9_]+([eE][-+]?[0-9]+)?$"  # a number may stand as a text: 100_000
_TYPES: Final = {int: "integer", float: "number", bool: "boolean", str: "string"}
_COUNT: Final[Schema] = {"type": "integer", "minimum": 1}
_SEEDS: Final[Schema] = {"type": "array", "items": {"type": "integer"}, "minItems": 1, "uniqueItems": True}


def study_schema() -> Schema:
    """The schema (JSON Schema, draft 2020-12) of what `StudySpec.from_mapping` reads.

    What it knows: keys, settings, parts and their settings, types, choices, and lower and upper bounds. What it does
    not: which settings apply to which parts, and how settings go together, for which see `psp validate`.
    """
    top: Schema = {
        "name": {
            "type": "string",
            "pattern": f"^{NAME.pattern}$",
            "description": "Lower-case letters, digits and hyphens.",
        },
        "about": {"type": "string", "description": "One line for psp list."},
        "kind": {"enum": list(EXPERIMENTS), "description": "What a trial is.", "default": FIRST_KIND},
        "small": {"type": "object", "description": "What the reduced form says instead: psp run STUDY --small."},
        "keep_models": {
            "type": "boolean",
            "default": False,
            "description": "Whether each trial's trained network is kept, for psp_core.load_model.",
        },
        PROVENANCE: {"type": "object", "description": "What ran the study; written into stores."},
    }
    definitions, cases = _Definitions(), list[Schema]()
    for kind, root in EXPERIMENTS.items():
        study = _Blocks(root, definitions).study()
        top |= dict.fromkeys(study["properties"].keys() - top.keys(), True)
        is_kind: Schema = {"properties": {"kind": {"const": kind}}}
        others: Schema = {} if kind == FIRST_KIND else {"required": ["kind"]}
        cases.append({"if": is_kind | others, "then": study})
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "A study of psp",
        "type": "object",
        "required": ["name"],
        "properties": top,
        "additionalProperties": False,
        "allOf": cases,
        "$defs": definitions.found,
    }


class _Definitions:
    """Schemas that are used more than once, by name."""

    def __init__(self) -> None:
        """None yet."""
        self.found: Schema = {}

    def refer(self, name: str, schema: Schema) -> Schema:
        """A reference to the schema, which gets this name, or the name with a number where another has it."""
        names = (name if number == 1 else f"{name}-{number}" for number in count(1))
        free = next(each for each in names if self.found.get(each, schema) == schema)
        self.found[free] = schema
        return {"$ref": f"#/$defs/{free}"}


class _Blocks:
    """The blocks of a study whose trials are of one kind.

    Args:
        root: what a trial is.
        definitions: where schemas go that are used more than once.
    """

    def __init__(self, root: type[Experiment], definitions: _Definitions) -> None:
        """Define each setting, and each block of settings."""
        self.define = definitions.refer
        self.mappings = dict[str, Schema]()
        known = {key: one for key, one in _keys(root) if one.column not in UNSAID}
        self.settings = self.define("any-settings", _object({key: self._shared(one) for key, one in known.items()}))
        self.axes = self.define("any-axes", _object({key: self._listed(one) for key, one in known.items()}))

    def study(self) -> Schema:
        """The blocks of a study, and those of its reduced form."""
        tune = _object(
            {
                "search": {"enum": list(SEARCHES), "default": SEARCHES[0]},
                "trials": _COUNT,
                "rounds": _COUNT,
                "seeds": _SEEDS,
                "validation": _COUNT,
                "settings": self.settings,
            }
        )
        measure = _object({"seeds": _SEEDS, "settings": self.settings})
        variants = {"type": "array", "items": {"allOf": [self.settings], "minProperties": 1}}
        described = {
            "variants": ("Settings that vary together: each variant is one curve, or several.", variants),
            "axes": ("Settings that vary alone, each with its values: every combination is trained.", self.axes),
            "seeds": ("A trial for each, of every combination.", _SEEDS),
            "settings": ("What all trials share; a list makes trials for each of its values.", self.settings),
            "tune": ("How the study chooses the settings that are given as a choice.", tune),
            "measure": ("In what the trials differ whose settings were chosen.", measure),
        }
        blocks = {
            key: self.define(f"block-{key}", {"description": text, "anyOf": [block, {"type": "null"}]})
            for key, (text, block) in described.items()
        }
        return {"properties": {**blocks, "small": _object({key: blocks[key] for key in SMALL_KEYS})}}

    def _with_settings(self, family: type[Part]) -> Schema:
        """A part as a mapping: with its name, or with what any part of the family has."""
        if family.family not in self.mappings:
            named = [self._own([part]) | {"required": ["name"]} for part in family.known.values()]
            either = _any([*named, self._own(family.known.values()) | {"not": {"required": ["name"]}}])
            self.mappings[family.family] = self.define(f"{family.family}-with-settings", either)
        return self.mappings[family.family]

    def _own(self, parts: Collection[type[Part]]) -> Schema:
        settings = {one.name: one for part in parts for one in settings_of(part) if one.column not in UNSAID}
        known = {name: self._shared(one) for name, one in settings.items()}
        names = list(dict.fromkeys(name for part in parts for name in (part.name, part.formerly)))
        return _object({"name": {"enum": names}} | known)

    def _shared(self, one: Setting) -> Schema:
        """A setting that trials share: a value, a list of them, or what the study chooses among."""
        value = self.define(f"value-{one.column}", _scalar(one))
        either = _any([value, self._with_settings(one.part)]) if one.part else value
        chosen = _choices(either)[: 1 if one.part else None]  # parts are listed
        forms = [either, {"type": "array", "items": either, "minItems": 1}, *chosen]
        return self.define(one.column, _described(one, forms))

    def _listed(self, one: Setting) -> Schema:
        """A setting that varies alone: a list of values, or how they are drawn."""
        value = self.define(f"value-{one.column}", _scalar(one))
        listed = {"type": "array", "items": value, "minItems": 1, "uniqueItems": True}
        drawn = {"draws": _COUNT, "seed": {"type": "integer", "default": 0}}
        forms = [listed, *([] if one.part else _choices(value, **drawn))]
        return self.define(f"values-{one.column}", _described(one, forms))


def _keys(root: type[Part]) -> Iterator[tuple[str, Setting]]:
    """Every key of a block of settings: short names, and the dotted paths from every part."""
    for column, owned in by_column(root).items():
        yield column, owned[0][1]
    for family in {one.column: one.part for _, one in every_setting(root) if one.part}.values():
        yield from _below(family)


def _below(family: type[Part], path: str = "") -> Iterator[tuple[str, Setting]]:
    path = path or family.family
    for one in {one.name: one for part in family.known.values() for one in settings_of(part)}.values():
        yield f"{path}.{one.name}", one
        if one.part:
            yield from _below(one.part, f"{path}.{one.name}")


def _scalar(one: Setting) -> Schema:
    """One value of a setting."""
    none: Iterable[Schema] = [{"type": "null"}] if _may_be_none(one) else []
    if one.part:
        names = {name: part for part in one.part.known.values() for name in (part.name, part.formerly)}
        return _any([{"const": name, "description": summary(part)} for name, part in names.items()])
    if one.choices:
        return _any([{"enum": one.choices}, *none])
    kind = get_args(one.kind)[0] if isinstance(one.kind, types.UnionType) else one.kind
    if kind not in (int, float):
        return _any([{"type": _TYPES[kind]}, *none])
    return _any([{"type": _TYPES[kind], **_bounds(one, kind)}, {"type": "string", "pattern": _NUMERAL}, *none])


def _may_be_none(one: Setting) -> bool:
    return one.default is MISSING or isinstance(one.kind, types.UnionType)


def _bounds(one: Setting, kind: type) -> Schema:
    """The lower and the upper bound that a rule has, if they are small whole numbers."""
    if one.rule is None:
        return {}
    holds, ends, near = one.rule.holds, range(5), 0 if kind is int else 1e-9
    low = next((end for end in ends if holds(end) or holds(end + near)), 0)
    bounds: Schema = {} if holds(low - 1) else {"minimum" if holds(low) else "exclusiveMinimum": low}
    high = next((end for end in ends if holds(end - near) and not holds(end + 1) and not holds(end + 1e-9)), None)
    return bounds if high is None else bounds | {"maximum" if holds(high) else "exclusiveMaximum": high}


def _choices(value: Schema, **more: Schema) -> list[Schema]:
    """What is chosen or drawn, under the name of its distribution."""
    ends = {"type": "array", "items": value, "minItems": 2}
    of = {kind: ends if kind == "choice" else ends | {"maxItems": 2} for kind in KINDS}
    return [_object({kind: values, **more}) | {"required": [kind, *list(more)[:1]]} for kind, values in of.items()]


def _described(one: Setting, either: list[Schema]) -> Schema:
    usual = "It has to be given." if one.default is MISSING else f"Default: {value_words(one.default)}."
    rule = f" It {one.rule.text}" if one.rule else ""
    return {"description": f"{one.text} {usual}{rule}", "anyOf": either}


def _object(properties: Schema) -> Schema:
    return {"type": "object", "properties": properties, "additionalProperties": False}


def _any(schemas: list[Schema]) -> Schema:
    """Any of these; each once."""
    each = [schema for place, schema in enumerate(schemas) if schema not in schemas[:place]]
    return each[0] if len(each) == 1 else {"anyOf": each}

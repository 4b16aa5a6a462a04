"""Reads and writes YAML 1.2, in which `0100` is not 64, `1:30` is not 90 and `on` is not true.

PyYAML reads version 1.1. A scalar that the two versions read differently is text here, or refused.
"""

import re
from collections.abc import Hashable
from typing import Any, Final

import yaml

from psp_core.messages import one_line

_INT: Final = r"[-+]?[0-9]+|0o[0-7]+|0x[0-9a-fA-F]+"
_FLOAT: Final = r"[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?|[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN)"
_RESOLVED: Final = (  # the core schema (YAML 1.2.2, section 10.3.2), and the merge key of version 1.1
    ("null", r"~|null|Null|NULL|", ["~", "n", "N", ""]),
    ("bool", r"true|True|TRUE|false|False|FALSE", list("tTfF")),
    ("int", _INT, list("-+0123456789")),
    ("float", _FLOAT, list("-+.0123456789")),
    ("merge", r"<<", ["<"]),
)


_BREAKS: Final = set("\x85\u2028\u2029")
"""PyYAML writes these characters unescaped, but reads them as line breaks."""


def load_yaml(text: str) -> object:
    """The plain values of a YAML text. A key that is given twice is refused, not ignored.

    Raises:
        ValueError: the text is no YAML, or has a number that can be read in two ways; the message says where.
    """
    try:
        return yaml.load(text, Loader=_Loader)
    except yaml.MarkedYAMLError as error:
        line = f"line {error.problem_mark.line + 1}: " if error.problem_mark else ""
        said = ", ".join(part for part in (error.context, error.problem) if part)
        raise ValueError(f"{line}{one_line(said)}.") from None
    except (yaml.YAMLError, RecursionError, ValueError) as error:
        raise ValueError(one_line(error)) from None


def dump_yaml(content: object) -> str:
    """The YAML text of plain values, in the order of their keys; versions 1.1 and 1.2 read it alike."""
    text = yaml.dump(content, Dumper=_Dumper, sort_keys=False, allow_unicode=True)
    if _BREAKS.isdisjoint(text):
        return text
    return yaml.dump(content, Dumper=_Dumper, sort_keys=False)  # escapes all but ASCII


def in_one_line(content: object) -> str:
    """The YAML text of plain values on one line, such as `[1, 2]` or `{lr: 0.1}`."""
    text = yaml.dump([content], Dumper=_Dumper, sort_keys=False, default_flow_style=True, width=float("inf"))
    return text.strip()[1:-1]


class _Loader(yaml.SafeLoader):
    yaml_implicit_resolvers: dict[str, list[tuple[str, re.Pattern[str]]]] = {}  # noqa: RUF012 - PyYAML copies it

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        seen: list[object] = []
        for key, _ in node.value:
            if key.value in seen:
                raise yaml.MarkedYAMLError(
                    problem=f"the key {key.value!r} is given twice: keep one", problem_mark=key.start_mark
                )
            seen.append(key.value)
        return super().construct_mapping(node, deep)

    def construct_number(self, node: yaml.ScalarNode) -> int:
        text = str(self.construct_scalar(node))
        digits = text.lstrip("+-")
        if len(digits) > 1 and digits.isdecimal() and digits[0] == "0":
            raise yaml.MarkedYAMLError(
                problem=f"the number {text} begins with 0, which some take for octal: write {int(text)}"
                + (f", or {int(digits, 8)} if that was meant" if set(digits) <= set("01234567") else ""),
                problem_mark=node.start_mark,
            )
        return int(text, 0)


class _Dumper(yaml.SafeDumper):
    """Quotes what either version would not read as text."""


for _name, _pattern, _first in _RESOLVED:
    _Loader.add_implicit_resolver(f"tag:yaml.org,2002:{_name}", re.compile(rf"^(?:{_pattern})$"), _first)
    _Dumper.add_implicit_resolver(f"tag:yaml.org,2002:{_name}", re.compile(rf"^(?:{_pattern})$"), _first)
_Loader.add_constructor("tag:yaml.org,2002:int", _Loader.construct_number)

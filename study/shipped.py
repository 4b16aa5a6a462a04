"""The studies that ship with the package. No torch here: `psp list` must be instant."""

from collections.abc import Mapping
from importlib import resources
from importlib.resources.abc import Traversable
from math import prod
from typing import Any, cast

from study.choices import KINDS
from study.yaml_text import load_yaml


def shipped_studies() -> dict[str, Traversable]:
    """The studies' files by name, in alphabetical order."""
    files = resources.files("study").joinpath("studies").iterdir()
    studies = {file.name.removesuffix(".yaml"): file for file in files if file.name.endswith(".yaml")}
    return dict(sorted(studies.items()))


def outline(file: Traversable) -> dict[str, Any]:
    """What a shipped study is about, how many trials it and its reduced form declare, and whether it tunes itself.

    The counts are of all combinations, without what tunes a study. `psp plan` merges those that differ in num_tasks
    alone. A study without reduced form has None for its number.
    """
    content = cast(Mapping[str, Any], load_yaml(file.read_text(encoding="utf-8")))
    small: Mapping[str, Any] = content.get("small", {})
    axes = {**content.get("axes", {}), **small.get("axes", {})}
    reduced = {**content, **small, "axes": {key: axes[key] for key in axes.keys() - small.get("settings", {}).keys()}}
    reduced["measure"] = {**content.get("measure", {}), **small.get("measure", {})}
    return {
        "about": content["about"],
        "trials": _combinations(content),
        "small_trials": _combinations(reduced) if small else None,
        "is_tuned": "tune" in content,
    }


def overview(outlined: Mapping[str, Any]) -> str:
    """An outline in a sentence."""
    small = f", {outlined['small_trials']} with --small" if outlined["small_trials"] else ""
    return f"{outlined['about']} ({outlined['trials']} trials{small}{', tuned' if outlined['is_tuned'] else ''})"


def _combinations(content: Mapping[str, Any]) -> int:
    variants = sum(map(_choices, content.get("variants") or [{}]))
    return (
        variants
        * _choices(content.get("axes", {}))
        * _choices(content.get("settings", {}))
        * len(content.get("measure", {}).get("seeds") or content.get("seeds", [0]))
    )


def _choices(value: object) -> int:
    """How many trials a setting stands for: as many as a list is long, and of a part the product of its settings."""
    if isinstance(value, Mapping):
        if value.keys() & set(KINDS):  # the study chooses one, or draws some
            return int(value.get("draws", 1))
        return prod(map(_choices, value.values()))
    return len(value) if isinstance(value, list) else 1

"""What runs, measures, plans and costs trials knows methods by their interface alone."""

import ast
from pathlib import Path
from typing import get_args

import pytest

from psp_core.methods import METHODS
from psp_core.methods.superposed_settings import Trunk
from psp_core.parts import every_setting
from psp_core.protect import PROTECTIONS
from psp_core.trial import Trial

ROOT = Path(__file__).parent.parent
GENERAL = [
    "psp_core/training.py",
    "psp_core/evaluation.py",
    "psp_core/measuring.py",
    "psp_core/cost.py",
    "psp_core/experiment.py",
    "psp_core/trial.py",
    "study/plan.py",
    "study/nested.py",
    "study/worker.py",
    "study/store.py",
    "study/schema.py",
]
NAMES = {*METHODS, *PROTECTIONS, *get_args(Trunk)} - {"none"}


def defaults() -> set[str]:
    """Names that a declaration of a setting gives as its default, as the tree's root does."""
    return {one.default for part, one in every_setting(Trial) if part is Trial and isinstance(one.default, str)}


@pytest.mark.parametrize("path", GENERAL)
def test_no_method_protection_or_trunk_is_named(path: str) -> None:
    tree = ast.parse((ROOT / path).read_text())
    texts = {node.value for node in ast.walk(tree) if isinstance(node, ast.Constant) and isinstance(node.value, str)}
    assert texts & NAMES <= defaults()


@pytest.mark.parametrize("path", GENERAL)
def test_no_class_of_a_method_is_asked_for(path: str) -> None:
    classes = {kind.__name__ for method in METHODS.values() for kind in method.__mro__}
    asked = [
        ast.unparse(node)
        for node in ast.walk(ast.parse((ROOT / path).read_text()))
        if isinstance(node, ast.Call) and ast.unparse(node.func) == "isinstance"
    ]
    assert not [call for call in asked if any(name in call for name in classes - {"object"})]

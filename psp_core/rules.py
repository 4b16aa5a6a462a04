"""Rules that several settings have."""

import math
from typing import Final

from psp_core.parts import Rule


def at_least(least: int) -> Rule:
    """A whole number of at least so much."""
    return Rule(lambda value: value >= least, f"must be at least {least}; give a larger whole number.")


def positive(hint: str = "") -> Rule:
    """A positive, finite number; the hint says which is usual."""
    return Rule(lambda value: 0 < value < math.inf, f"must be a positive, finite number{hint}.")


NOT_NEGATIVE: Final = Rule(lambda value: 0 <= value < math.inf, "must be 0 or a positive, finite number.")

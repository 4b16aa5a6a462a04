"""Contexts by name: one line for each file of this package."""

from typing import Final

from psp_core.contexts.base import Context
from psp_core.contexts.binary import Binary
from psp_core.contexts.complex import Complex
from psp_core.contexts.none import NoContext
from psp_core.contexts.one_power import OnePower
from psp_core.contexts.rotation import Rotation
from psp_core.messages import lookup

CONTEXTS: Final[dict[str, Context]] = {
    context.name: context for context in (NoContext(), Binary(), Complex(), OnePower(), Rotation())
}


def get_context(name: str) -> Context:
    """The context of that name.

    Raises:
        ValueError: no context has that name; the message lists all and the nearest.
    """
    return lookup("context", name, CONTEXTS)


__all__ = ["CONTEXTS", "Context", "get_context"]

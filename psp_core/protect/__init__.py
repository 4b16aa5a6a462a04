"""Protections by name: one line for each file of this package."""

from typing import Final

from psp_core.protect.base import Kept, Protection, State, Step
from psp_core.protect.ewc import EWC as EWC
from psp_core.protect.none import NoProtection
from psp_core.protect.si import SI as SI

PROTECTIONS: Final[dict[str, type[Protection]]] = Protection.known

__all__ = ["PROTECTIONS", "Kept", "NoProtection", "Protection", "State", "Step"]

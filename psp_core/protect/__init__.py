"""Protections by name: one line for each file of this package."""

from typing import Final

from psp_core.protect.agem import AGEM as AGEM
from psp_core.protect.base import Protection, State, Step
from psp_core.protect.ewc import EWC as EWC
from psp_core.protect.gpm import GPM as GPM
from psp_core.protect.lwf import LwF as LwF
from psp_core.protect.mas import MAS as MAS
from psp_core.protect.none import NoProtection
from psp_core.protect.packnet import PackNet as PackNet
from psp_core.protect.replay import Replay as Replay
from psp_core.protect.si import SI as SI

PROTECTIONS: Final[dict[str, type[Protection]]] = Protection.known

__all__ = ["PROTECTIONS", "NoProtection", "Protection", "State", "Step"]

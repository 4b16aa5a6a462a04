"""Methods by name: one line for each file of this package."""

from typing import Final

from psp_core.methods.base import Learner, Method
from psp_core.methods.exssnet import ExSSNeT as ExSSNeT
from psp_core.methods.hat import HAT as HAT
from psp_core.methods.hopsupsup import HopSupSup
from psp_core.methods.merged import Merged
from psp_core.methods.nns import NNs
from psp_core.methods.superposed import Superposed
from psp_core.methods.supsup import Supsup

METHODS: Final[dict[str, type[Method]]] = Method.known

__all__ = ["METHODS", "HopSupSup", "Learner", "Merged", "Method", "NNs", "Superposed", "Supsup"]

"""Contexts by name: one line for each file of this package."""

from typing import Final

from psp_core.contexts.base import Context
from psp_core.contexts.binary import Binary
from psp_core.contexts.complex import Complex
from psp_core.contexts.fourier import Fourier
from psp_core.contexts.gaussian import Gaussian
from psp_core.contexts.hadamard import Hadamard
from psp_core.contexts.householder import Householder
from psp_core.contexts.mask import Mask
from psp_core.contexts.none import NoContext
from psp_core.contexts.one_power import OnePower
from psp_core.contexts.permutation import Permutation
from psp_core.contexts.plain_complex import PlainComplex
from psp_core.contexts.rotation import Rotation
from psp_core.contexts.rotation_powers import RotationPowers
from psp_core.contexts.signed_permutation import SignedPermutation
from psp_core.contexts.structured_rotation import OneTransform, StructuredRotation
from psp_core.contexts.ternary import Ternary
from psp_core.contexts.xdg import XdG

CONTEXTS: Final[dict[str, type[Context]]] = Context.known


def get_context(name: str) -> Context:
    """The context of that name.

    Raises:
        ValueError: no context has that name; the message lists all and the nearest.
    """
    return Context.named(name)()


__all__ = [
    "CONTEXTS",
    "Binary",
    "Complex",
    "Context",
    "Fourier",
    "Gaussian",
    "Hadamard",
    "Householder",
    "Mask",
    "NoContext",
    "OnePower",
    "OneTransform",
    "Permutation",
    "PlainComplex",
    "Rotation",
    "RotationPowers",
    "SignedPermutation",
    "StructuredRotation",
    "Ternary",
    "XdG",
    "get_context",
]

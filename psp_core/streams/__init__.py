"""Streams by name: one line for each file of this package."""

from typing import Final

from psp_core.streams.base import Stream
from psp_core.streams.permuting import Permuting

STREAMS: Final[dict[str, type[Stream]]] = {Permuting.name: Permuting}

__all__ = ["STREAMS", "Permuting", "Stream"]

"""Streams by name: one line for each file of this package."""

from typing import Final

from psp_core.streams.base import Stream, Tasks
from psp_core.streams.incremental import Incremental
from psp_core.streams.permuting import Permuting
from psp_core.streams.rotating import Rotating
from psp_core.streams.split import Split
from psp_core.streams.turned import Turned

STREAMS: Final[dict[str, type[Stream]]] = Stream.known

__all__ = ["STREAMS", "Incremental", "Permuting", "Rotating", "Split", "Stream", "Tasks", "Turned"]

"""Streams by name: one line for each file of this package; and which settings go with which."""

from typing import TYPE_CHECKING, Final

from psp_core.streams.base import Stream
from psp_core.streams.incremental import Incremental
from psp_core.streams.permuting import Permuting
from psp_core.streams.rotating import Rotating
from psp_core.streams.split import Split
from psp_core.streams.turned import Turned

if TYPE_CHECKING:
    from psp_core.trial import TrialConfig

INTERPOLATIONS: Final = ("bilinear", "nearest")
"""What stands between the pixels of an image that is turned."""

STREAMS: Final[dict[str, type[Stream]]] = {
    stream.name: stream for stream in (Permuting, Rotating, Turned, Split, Incremental)
}


def check_stream(config: "TrialConfig") -> None:
    """Refuse settings that mean nothing to a trial's stream.

    Raises:
        ValueError: the message names setting, value, rule and remedy.
    """
    stream = STREAMS[config.stream]
    if config.permute_first and not stream.is_permuted:
        raise ValueError(f"permute_first=true does not apply to stream={config.stream!r}; leave it out.")
    if config.interpolation != type(config).interpolation and not stream.has_interpolations:
        raise ValueError(
            f"interpolation={config.interpolation!r} does not apply to stream={config.stream!r}; leave it out, or use "
            "stream 'turned'."
        )
    stream.check(config)


__all__ = [
    "INTERPOLATIONS",
    "STREAMS",
    "Incremental",
    "Permuting",
    "Rotating",
    "Split",
    "Stream",
    "Turned",
    "check_stream",
]

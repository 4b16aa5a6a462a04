"""Shows a run from elsewhere, by the snapshots that it keeps in its store."""

import math
import time
from contextlib import nullcontext
from typing import Final

from rich.live import Live
from rich.text import Text

from study.files import Files
from study.heartbeat import SECONDS, heard
from study.lease import held
from study.live import lines
from study.screen import Screen
from study.snapshot import Snapshot

SECONDS_BETWEEN_LINES: Final = 60.0
"""Where lines cannot be drawn again."""


def watch(files: Files, screen: Screen) -> None:
    """Show the run that writes into a store, until none does; one line a minute where there is no terminal."""
    live = Live(console=screen, transient=True, auto_refresh=False) if screen.is_live else None
    last_line = -math.inf
    with live or nullcontext():
        while held(files):
            now = heard(files)
            if live:
                live.update(lines(now) if now else Text(_said(now)), refresh=True)
            elif time.monotonic() - last_line >= SECONDS_BETWEEN_LINES:
                screen.say(_said(now))
                last_line = time.monotonic()
            time.sleep(SECONDS)


def _said(now: Snapshot | None) -> str:
    """A snapshot on one line."""
    return " · ".join(filter(None, [now.headline.strip(), now.counts, str(now.use)])) if now else "a run is starting"

"""Shows a run from elsewhere, by the snapshots that it keeps in its store."""

import time
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
"""Between two looks where lines cannot be drawn again."""


def watch(files: Files, screen: Screen) -> None:
    """Show the run that writes into a store, until none does; one line a minute where there is no terminal."""
    if screen.is_live:
        _draw(files, screen)
        return
    while held(files):
        screen.say(_said(heard(files)))
        time.sleep(SECONDS_BETWEEN_LINES)


def _draw(files: Files, screen: Screen) -> None:
    with Live(console=screen, transient=True, auto_refresh=False) as live:
        while held(files):
            now = heard(files)
            live.update(lines(now) if now else Text(_said(now)), refresh=True)
            time.sleep(SECONDS)


def _said(now: Snapshot | None) -> str:
    return " · ".join(filter(None, [now.headline.strip(), now.counts, str(now.use)])) if now else "a run is starting"

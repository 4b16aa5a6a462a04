"""The report: one HTML page of a store, or of several, that opens without a network."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import pyarrow.fs as pafs

from analysis.compare import compared_with
from analysis.report.page import page
from analysis.report.progress import Progress
from analysis.store import StoreError, open_folder, read_store
from analysis.whole_files import write_whole

__all__ = ["Progress", "write_report"]

NAME = "report.html"


def write_report(outs: Sequence[str], progress: Mapping[str, Progress] | None = None, to: Path | None = None) -> str:
    """Write the report of these stores whole, or not at all; returns its place.

    Args:
        outs: trial stores.
        progress: what a store's study plans, by store; nothing of stores whose study is not known.
        to: the page's file. [default: report.html in the one store; of several, in the working folder]

    Raises:
        StoreError: there is no store at a place, or nothing in it can be read; or the page cannot be written.
    """
    progress = progress or {}
    store = read_store(*outs)
    text = page(store, outs, [progress.get(out) for out in outs], compared_with(store))
    try:
        if to is None and len(outs) == 1:
            fs, root = open_folder(outs[0])
            write_whole(fs, root, NAME, text.encode())
            return f"{outs[0].rstrip('/')}/{NAME}"
        place = (to or Path(NAME)).absolute()
        place.parent.mkdir(parents=True, exist_ok=True)
        write_whole(pafs.LocalFileSystem(), str(place.parent), place.name, text.encode())
        return str(to or NAME)
    except OSError as error:
        raise StoreError(
            f"The report cannot be written: {' '.join(str(error).split())}. Name another place by --to."
        ) from None

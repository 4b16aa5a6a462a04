"""The folder that holds the data sets' files."""

import os
import shlex
from pathlib import Path

from psp_core.datasets.data import Root
from psp_core.datasets.unavailable import DataUnavailableError
from psp_core.messages import one_line


def data_root(root: Root = None) -> Path:
    """The folder that holds the data: the argument, else $PSP_DATA, else the user's cache.

    Raises:
        DataUnavailableError: the path begins with a user whom this machine does not know, or there is no home folder.
    """
    chosen = root or os.environ.get("PSP_DATA")
    try:
        if chosen:
            return Path(chosen).expanduser().absolute()
        return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "psp"
    except RuntimeError as error:
        raise DataUnavailableError(
            f"data={str(chosen or '~/.cache')!r} cannot be found ({one_line(error).rstrip('.')}); give --data or "
            "PSP_DATA a path that begins with /."
        ) from None


def existing(name: str, root: Root) -> Path:
    """The data root. A folder that was named must exist: a misspelt name makes no new folder.

    Raises:
        DataUnavailableError: it is not.
    """
    folder = data_root(root)
    if (root or os.environ.get("PSP_DATA")) and not folder.is_dir():
        raise DataUnavailableError(
            f"data='{folder}' is no folder, so dataset={name!r} cannot be read from there; correct --data or PSP_DATA, "
            f"or make the folder for a download: mkdir -p {shlex.quote(str(folder))}"
        )
    return folder

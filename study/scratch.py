"""A folder for the files that Ray needs during a run; removed when the run ends."""

import contextlib
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Final

LONGEST: Final = 30  # characters: Ray's sockets lie 77 deeper, and the path of a socket may have 107
OURS: Final = ("study", "psp_core", "analysis")
PACKAGES: Final = "packages"


@contextlib.contextmanager
def scratch() -> Iterator[Path]:
    """The folder, in RAY_TMPDIR, TMPDIR or /tmp: the first whose path is short enough.

    Its subfolder `packages` has links to our packages and nothing else. Workers look for modules first in the folder
    where Ray was started. So Ray is started in `packages`: in the user's folder a file `study.py` would hide ours.

    Raises:
        OSError: no folder can be made in that place.
    """
    places = (os.environ.get("RAY_TMPDIR"), tempfile.gettempdir(), "/tmp")
    place = next((place for place in places if place and len(os.path.abspath(place)) <= LONGEST), None)
    folder = Path(tempfile.mkdtemp(prefix="psp", dir=place))
    try:
        (folder / PACKAGES).mkdir()
        for name in OURS:
            (folder / PACKAGES / name).symlink_to(Path(__file__).absolute().parents[1] / name)
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)

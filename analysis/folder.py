"""A store's figures folder. Figures that a command drew before, and would not draw now, are removed."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

import pyarrow.fs as pafs
from matplotlib.figure import Figure

from analysis.figures.saving import check_format, written
from analysis.store import StoreError, open_folder
from analysis.whole_files import write_whole

MANIFEST: Final = "made-by-psp.json"


class FigureFolder:
    """The figures folder of a store, and a context in which one command draws into the folder.

    A manifest lists what psp drew: for each command and file, a digest of the file, and a digest of the store and the
    options behind the file. At the context's end, the command's files from another state of the store are removed,
    unless somebody changed them. Other formats of this state stay. Files outside the manifest are never touched.

    Args:
        out: a trial store, or several.
        format: one or more of png, svg and pdf, with commas.
        command: the name of the command that draws.
        options: what the figures depend on beside the store.
        to: the folder on this machine. [default: `figures` in the one store; of several, in the working folder]

    Raises:
        StoreError: there is no store at that place, or it cannot be written.
    """

    def __init__(
        self,
        out: str | Sequence[str],
        format: str,
        command: str,
        options: Mapping[str, Any] | None = None,
        to: str | None = None,
    ) -> None:
        """Make the folder if it is not there."""
        outs = [out] if isinstance(out, str) else list(out)
        self.formats, self.command = check_format(format), command
        opened = [open_folder(one) for one in outs]
        self._state = _digest(json.dumps([*map(_files, opened), sorted((options or {}).items())]).encode())
        if to is None and len(outs) == 1:
            ((self._fs, root),) = opened
            self._path, self.place = f"{root}/figures", f"{outs[0].rstrip('/')}/figures"
        else:
            self.place = to or "figures"
            self._fs, self._path = pafs.LocalFileSystem(), str(Path(self.place).absolute())
        self._drawn: dict[str, dict[str, str]] = {}
        self.removed: list[str] = []
        try:
            if self._is_local():  # an object store has no folders, and may forbid a look at the bucket
                self._fs.create_dir(self._path, recursive=True)
        except OSError as error:
            raise self._not_written(error) from None

    def __enter__(self) -> Self:
        """Begin to draw."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Write the manifest. If no error ended the context, first remove what an earlier state left."""
        manifest = self._read_manifest()
        before = manifest.get(self.command, {})
        stale = {
            name: made
            for name, made in before.items()
            if kind is None and name not in self._drawn and made.get("state") != self._state
        }
        for name, made in stale.items():
            if self._digest_of(name) == made.get("digest"):
                self._fs.delete_file(f"{self._path}/{name}")
                self.removed.append(name)
        manifest[self.command] = {name: made for name, made in before.items() if name not in stale} | self._drawn
        try:
            self._write(MANIFEST, json.dumps(manifest, indent=1, sort_keys=True).encode())
        except OSError as failure:
            if kind is None:
                raise self._not_written(failure) from None

    def save(self, figure: Figure, name: str) -> str:
        """Write a figure; returns its place below `out`, as the user wrote `out`: `OUT/figures/capacity.{png,pdf}`.

        Raises:
            StoreError: the file cannot be written.
        """
        for format in self.formats:
            file, content = f"{name}.{format}", written(figure, format)
            try:
                self._write(file, content)
            except OSError as error:
                raise self._not_written(error) from None
            self._drawn[file] = {"digest": _digest(content), "state": self._state}
        ends = self.formats[0] if len(self.formats) == 1 else f"{{{','.join(self.formats)}}}"
        return f"{self.place}/{name}.{ends}"

    def _write(self, name: str, content: bytes) -> None:
        """Write a file whole or not at all: by a rename, or by one PUT to an object store."""
        write_whole(self._fs, self._path, name, content)

    def _is_local(self) -> bool:
        return isinstance(self._fs, pafs.LocalFileSystem)

    def _read_manifest(self) -> dict[str, dict[str, dict[str, str]]]:
        """The manifest: by command and file. Empty where it is damaged or not there."""
        try:
            with self._fs.open_input_file(f"{self._path}/{MANIFEST}") as file:
                manifest = json.loads(file.read())
        except (OSError, ValueError):
            return {}
        is_whole = isinstance(manifest, dict) and all(isinstance(files, dict) for files in manifest.values())
        return manifest if is_whole else {}

    def _digest_of(self, name: str) -> str | None:
        try:
            with self._fs.open_input_file(f"{self._path}/{name}") as file:
                return _digest(file.read())
        except OSError:
            return None

    def _not_written(self, error: OSError) -> StoreError:
        place, why = self.place.removesuffix("/figures"), " ".join(str(error).split())
        return StoreError(f"out={place!r} cannot be written: {why}. Copy the store to a place that can.")


def _files(opened: tuple[pafs.FileSystem, str]) -> list[tuple[str, str, int]]:
    """The names and sizes of a store's files."""
    fs, root = opened
    return sorted(
        (folder, info.base_name, info.size)
        for folder in ("trials", "evals", "curves", "crosstalk", "predictions")
        for info in fs.get_file_info(pafs.FileSelector(f"{root}/{folder}", allow_not_found=True))
    )


def _digest(content: bytes) -> str:
    return hashlib.blake2b(content, digest_size=16).hexdigest()

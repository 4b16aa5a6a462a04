"""The files of a trial store: a local folder or any URI that pyarrow knows, written whole or not at all."""

import contextlib
import errno
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final, TypeVar

import pyarrow as pa
import pyarrow.fs as pafs

from study.redact import without_secrets

WAITS: Final = (0.5, 1.0, 2.0, 4.0, 8.0)  # seconds before each new attempt at what a storage refused
FIRST_WAITS: Final = (0.5,)  # before anything was ever answered: a mistyped place is known in seconds
GOOGLE_SECONDS: Final = 10  # for each attempt; Google's library alone would try for a quarter of an hour
NO_USE: Final = {errno.ENOSPC, errno.EDQUOT, errno.EACCES, errno.EPERM, errno.EROFS}  # a new attempt changes nothing
T = TypeVar("T")


class StorageError(OSError):
    """The storage refused again and again; the message says what and where, without secrets."""


class FinalStorageError(StorageError):
    """The storage has no room, or denies the right to write: a new attempt changes nothing."""


class Files:
    """Files below one place.

    An operation that the storage refuses is tried six times over some 15 seconds; then `StorageError` is raised.
    A missing file raises `FileNotFoundError` at once. A full disk and missing rights raise `FinalStorageError` at once.

    Args:
        out: a folder, or a URI such as s3://bucket/path.
        reached: whether another process has just reached the place. If not, the first operation has two attempts.

    Attributes:
        uri: the place, valid in every process that can reach it; may hold secrets.
        shown: the place without secrets, to be printed and stored.

    Raises:
        ValueError: the place cannot be opened, or is a file.
    """

    def __init__(self, out: str, *, reached: bool = False) -> None:
        """Open the place; nothing is created yet."""
        self._reached = reached
        self.shown = without_secrets(out)
        try:
            if "://" in out:
                self._fs, self._root = pafs.FileSystem.from_uri(_with_an_end(out))
            else:
                self._fs, self._root = pafs.LocalFileSystem(), str(Path(out).expanduser().absolute())
            if not out.strip() or not self._root:
                raise ValueError("it names no place")
            self.uri = out if "://" in out else self._root
            is_file = bool(self.folder) and self._kind("") == pafs.FileType.File
        except StorageError:
            raise
        except (OSError, pa.ArrowException, ValueError, RuntimeError) as error:  # RuntimeError: no such user
            raise ValueError(
                f"cannot be opened: {self._clean(error).rstrip('.')}. Use a folder or a URI such as s3://bucket/path."
            ) from None
        if is_file:
            raise ValueError("is a file; a trial store is a folder: choose another place.")

    @property
    def folder(self) -> str | None:
        """The absolute path of a local folder; None for any other place."""
        return self._root if isinstance(self._fs, pafs.LocalFileSystem) else None

    def exists(self, name: str) -> bool:
        """Whether there is a file of that name."""
        return bool(self._kind(name) == pafs.FileType.File)

    def names(self, folder: str, ending: str = "") -> list[str]:
        """Names in a folder, sorted, without hidden files; a missing folder is empty."""
        selector = pafs.FileSelector(self._path(folder), allow_not_found=True)
        found = self._patiently(f"list {folder or 'the folder'}", lambda: self._fs.get_file_info(selector))
        names = [info.base_name for info in found]
        return sorted(name for name in names if name.endswith(ending) and not name.startswith("."))

    def read(self, name: str) -> bytes:
        """A file's content."""

        def read() -> bytes:
            with self._fs.open_input_stream(self._path(name)) as stream:
                return bytes(stream.read())

        return self._patiently(f"read {name}", read)

    def parse(self, name: str, read: Callable[[pa.NativeFile], T]) -> T:
        """What `read` makes of a file; `read` may load parts of the file only.

        A file of a local folder is read once: a damaged file may raise the same error as a storage that refuses.
        """

        def attempt() -> T:
            with self._fs.open_input_file(self._path(name)) as file:
                return read(file)

        return attempt() if self.folder else self._patiently(f"read {name}", attempt)

    def write(self, name: str, content: bytes | pa.Buffer, *, patiently: bool = True) -> None:
        """Write a file whole or not at all: renamed into place, or one PUT on an object store."""
        if patiently:
            self._patiently(f"write {name}", lambda: self._write(name, content))
        else:
            self._write(name, content)

    def delete(self, name: str) -> None:
        """Remove a file, if it is there."""
        self._patiently(f"delete {name}", lambda: self._gone(lambda: self._fs.delete_file(self._path(name))))

    def delete_folder(self, name: str) -> None:
        """Remove a folder and everything in it, if it is there."""
        self._patiently(f"delete {name}", lambda: self._gone(lambda: self._fs.delete_dir(self._path(name))))

    def _write(self, name: str, content: bytes | pa.Buffer) -> None:
        path = self._path(name)
        folder, _, base = path.rpartition("/")
        if not self.folder:
            with self._fs.open_output_stream(path) as stream:
                stream.write(content)
            return
        hidden = f"{folder}/.{base}.{time.time_ns()}"
        try:
            self._fs.create_dir(folder, recursive=True)
        except FileNotFoundError as error:  # a place without folders to write, such as /proc
            raise StorageError(f"{self.shown} refuses to make {folder}: {self._clean(error)}") from None
        try:
            with self._fs.open_output_stream(hidden) as stream:
                stream.write(content)
            self._fs.move(hidden, path)
        except OSError:
            with contextlib.suppress(OSError):
                self._fs.delete_file(hidden)
            raise

    def _gone(self, delete: Callable[[], None]) -> None:
        try:
            delete()
        except FileNotFoundError:
            return

    def _kind(self, name: str) -> pafs.FileType:
        path = self._path(name)
        return self._patiently(f"look for {name or 'the folder'}", lambda: self._fs.get_file_info(path).type)

    def _path(self, name: str) -> str:
        return f"{self._root}/{name}" if name else self._root

    def _patiently(self, what: str, operation: Callable[[], T]) -> T:
        attempts = 0
        while True:
            try:
                result = operation()
            except FileNotFoundError:
                self._reached = True
                raise
            except StorageError:
                raise
            except OSError as error:
                waits = WAITS if self._reached else FIRST_WAITS
                final = error.errno in NO_USE
                if final or attempts == len(waits):
                    kind = FinalStorageError if final else StorageError
                    raise kind(f"{self.shown} refuses to {what}: {self._clean(error)}") from None
                time.sleep(waits[attempts])
                attempts += 1
            else:
                self._reached = True
                return result

    def _clean(self, error: Exception) -> str:
        return without_secrets(" ".join(str(error).split()))


def _with_an_end(uri: str) -> str:
    """The URI, with a limit to the attempts of Google's library unless it has one."""
    if not uri.startswith(("gs://", "gcs://")) or "retry_limit_seconds=" in uri:
        return uri
    return f"{uri}{'&' if '?' in uri else '?'}retry_limit_seconds={GOOGLE_SECONDS}"

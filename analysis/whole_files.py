"""Writes a file whole or not at all."""

import contextlib
import os

import pyarrow.fs as pafs


def write_whole(fs: pafs.FileSystem, folder: str, name: str, content: bytes) -> None:
    """Write a file, by a rename, or by one PUT to an object store.

    Raises:
        OSError: the file cannot be written; an older one of that name stays.
    """
    is_local = isinstance(fs, pafs.LocalFileSystem)
    written = f".{name}.{os.getpid()}" if is_local else name
    try:
        with fs.open_output_stream(f"{folder}/{written}") as stream:
            stream.write(content)
        if written != name:
            fs.move(f"{folder}/{written}", f"{folder}/{name}")
    except OSError:
        if written != name:
            with contextlib.suppress(OSError):
                fs.delete_file(f"{folder}/{written}")
        raise

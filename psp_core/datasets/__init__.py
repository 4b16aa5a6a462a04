"""Data sets by name: their sizes, where their files are, and how they are loaded."""

import contextlib
import io
import os
import shlex
import shutil
import tempfile
from functools import lru_cache
from pathlib import Path
from typing import Final

from psp_core.datasets.base import Dataset, Sizes
from psp_core.datasets.data import Data
from psp_core.datasets.digits import DIGITS, load_digits
from psp_core.datasets.imagenet import IMAGENET, find_imagenet, load_imagenet
from psp_core.datasets.sources import SOURCES, Collection, Source
from psp_core.datasets.unavailable import DataUnavailableError
from psp_core.messages import lookup, one_line

__all__ = [
    "DATASETS",
    "SOURCES",
    "Data",
    "DataUnavailableError",
    "Dataset",
    "Sizes",
    "Source",
    "data_root",
    "ensure_dataset",
    "load_dataset",
    "where_is",
]

DATASETS: Final[dict[str, type[Data]]] = Data.known


def data_root(root: str | os.PathLike[str] | None = None) -> Path:
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


def where_is(name: str, root: str | os.PathLike[str] | None = None) -> str:
    """Where a data set's files are, or what they are fetched from and how large that is; touches nothing.

    Raises:
        ValueError: the name is not known.
        DataUnavailableError: they are missing and cannot be fetched; says which and where.
    """
    lookup("dataset", name, DATASETS)
    if name == DIGITS:
        return f"{name}: part of scikit-learn"
    folder = _existing(name, root)
    if name == IMAGENET:
        find_imagenet(folder)
        return f"{name}: in {folder / IMAGENET}"
    wanted = [collection for collection in SOURCES[name].collections if collection.missing(folder)]
    packed = [c for c in wanted if c.archives and len(_archives(c, folder)) == len(c.archives)]
    size = sum(collection.download_bytes for collection in wanted if collection not in packed)
    if size:
        return f"{name}: not in {folder}; a run downloads it to there ({size / 1e6:,.0f} MB)"
    return f"{name}: in {folder}" + (", packed; a run unpacks it there" if packed else "")


def _existing(name: str, root: str | os.PathLike[str] | None) -> Path:
    """The data root. One that was named has to be there: a folder made of a slip of the pen helps nobody."""
    folder = data_root(root)
    if (root or os.environ.get("PSP_DATA")) and not folder.is_dir():
        raise DataUnavailableError(
            f"data='{folder}' is no folder, so dataset={name!r} cannot be read from there; correct --data or PSP_DATA, "
            f"or make the folder for a download: mkdir -p {shlex.quote(str(folder))}"
        )
    return folder


def _archives(collection: Collection, root: Path) -> list[str]:
    """Those of the collection's archives that lie in the data root."""
    return [name for name in collection.archives if (root / name).is_file()]


def ensure_dataset(name: str, root: str | os.PathLike[str] | None = None) -> None:
    """Make sure that a data set's files are on this machine, unpacking or downloading them where they are not.

    Any number of processes may call this at once: one downloads, under a lock and beside the
    final place, and every finished file is moved in by a rename.

    Raises:
        ValueError: the name is not known.
        DataUnavailableError: the files are missing and the download failed, or there is none; says which and where.
    """
    lookup("dataset", name, DATASETS)
    if name == DIGITS:
        return
    folder = _existing(name, root)
    if name == IMAGENET:
        find_imagenet(folder)
        return
    source = SOURCES[name]
    try:
        for collection in source.collections:
            if collection.missing(folder):
                _download(collection, folder)
    except Exception as error:  # torchvision and urllib raise many kinds; all mean: not to be had
        wanted = ", ".join(str(path) for path in source.missing(folder))
        raise DataUnavailableError(
            f"dataset={name!r} needs files that are missing: {wanted}; downloading them failed "
            f"({type(error).__name__}: {one_line(error)}). Point --data or PSP_DATA at a folder that has them "
            "in torchvision's layout, run once with a network, or use dataset 'digits', which needs no files."
        ) from error


def _download(collection: Collection, root: Path) -> None:
    from filelock import FileLock

    root.mkdir(parents=True, exist_ok=True)
    with FileLock(root / f".{collection.torchvision_class}.lock"):
        if not collection.missing(root):
            return  # another process was first
        staging = Path(tempfile.mkdtemp(dir=root, prefix=".download-"))
        try:
            for name in _archives(collection, root):  # copies: torchvision writes over what has not its checksum
                (staging / name).parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(root / name, staging / name)
            with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
                collection.download(staging)
            final = root / collection.folder
            final.mkdir(parents=True, exist_ok=True)
            for name in collection.files:  # and not the archives that they came in
                (staging / collection.folder / name).replace(final / name)
        finally:
            shutil.rmtree(staging, ignore_errors=True)


def load_dataset(name: str, root: str | os.PathLike[str] | None = None) -> Dataset:
    """A data set by name, read once for each process.

    Raises:
        ValueError: the name is not known.
        DataUnavailableError: the files are missing (see `ensure_dataset`) or damaged; says which.
    """
    ensure_dataset(name, root)
    return load_digits() if name == DIGITS else _load(name, data_root(root))


@lru_cache(maxsize=2)  # the largest is 370 MB
def _load(name: str, root: Path) -> Dataset:
    if name == IMAGENET:
        return load_imagenet(root)
    source = SOURCES[name]
    try:
        train_images, train_labels = source.read(root, train=True)
        test_images, test_labels = source.read(root, train=False)
    except DataUnavailableError as error:
        raise DataUnavailableError(f"dataset={name!r}: {error}") from error
    return Dataset(
        name=name,
        shape=source.sizes.shape,
        num_classes=source.sizes.num_classes,
        scale=255.0,
        mean=source.mean,
        std=source.std,
        channels=source.sizes.channels,
        train_images=train_images,
        train_labels=train_labels,
        test_images=test_images,
        test_labels=test_labels,
    )

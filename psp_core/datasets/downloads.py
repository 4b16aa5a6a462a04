"""The data sets that torchvision knows: their files are found, unpacked or downloaded, and read."""

import contextlib
import io
import shutil
import tempfile
from functools import lru_cache
from pathlib import Path
from typing import Any, ClassVar

from psp_core.datasets.base import Dataset
from psp_core.datasets.data import Data, Root
from psp_core.datasets.places import data_root, existing
from psp_core.datasets.sources import SOURCES, Collection, Source
from psp_core.datasets.unavailable import DataUnavailableError
from psp_core.messages import one_line


class Downloaded(Data):
    """A data set of collections of torchvision's.

    Attributes:
        source: what it is made of.
    """

    source: ClassVar[Source]

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickled by its name: no module has the classes of data sets."""
        return Data.read, ({"name": self.name, "normalisation": self.normalisation},)

    @classmethod
    def where(cls, root: Root) -> str:
        """Its folder, and what a run does about missing files."""
        folder = existing(cls.name, root)
        wanted = [collection for collection in cls.source.collections if collection.missing(folder)]
        packed = [c for c in wanted if c.archives and len(_archives(c, folder)) == len(c.archives)]
        size = sum(collection.download_bytes for collection in wanted if collection not in packed)
        if size:
            return f"not in {folder}; a run downloads it to there ({size / 1e6:,.0f} MB)"
        return f"in {folder}" + (", packed; a run unpacks it there" if packed else "")

    @classmethod
    def ensure(cls, root: Root) -> None:
        """Unpack or download what is missing.

        One process downloads, under a lock and beside the final place, and every finished file is moved in by a rename.
        """
        folder = existing(cls.name, root)
        try:
            for collection in cls.source.collections:
                if collection.missing(folder):
                    _download(collection, folder)
        except Exception as error:  # torchvision and urllib raise many kinds; all mean: not to be had
            wanted = ", ".join(str(path) for path in cls.source.missing(folder))
            raise DataUnavailableError(
                f"dataset={cls.name!r} needs files that are missing: {wanted}; downloading them failed "
                f"({type(error).__name__}: {one_line(error)}). Point --data or PSP_DATA at a folder that has them "
                "in torchvision's layout, run once with a network, or use dataset 'digits', which needs no files."
            ) from error

    @classmethod
    def load(cls, root: Root) -> Dataset:
        """Its images, in memory."""
        return _load(cls.name, data_root(root))


for _name, _source in SOURCES.items():
    _shape = " x ".join(map(str, _source.sizes.shape))
    _about = "{0.num_classes} classes, {0.num_train:,} and {0.num_test:,} images of {1} numbers."
    _said = _about.format(_source.sizes, _shape)
    type(_name, (Downloaded,), {"sizes": _source.sizes, "source": _source, "__doc__": _said}, name=_name)


@lru_cache(maxsize=2)  # the largest is 370 MB
def _load(name: str, root: Path) -> Dataset:
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


def _archives(collection: Collection, root: Path) -> list[str]:
    """Those of the collection's archives that lie in the data root."""
    return [name for name in collection.archives if (root / name).is_file()]


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

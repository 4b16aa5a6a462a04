"""Data sets by name: one line for each file of this package that has some; and how they are found and loaded."""

from typing import Final

from psp_core.datasets.base import Dataset, Sizes
from psp_core.datasets.data import Data, Root
from psp_core.datasets.digits import Digits
from psp_core.datasets.downloads import Downloaded
from psp_core.datasets.imagenet import Imagenet
from psp_core.datasets.places import data_root
from psp_core.datasets.sources import SOURCES, Source
from psp_core.datasets.unavailable import DataUnavailableError

__all__ = [
    "DATASETS",
    "SOURCES",
    "Data",
    "DataUnavailableError",
    "Dataset",
    "Digits",
    "Downloaded",
    "Imagenet",
    "Sizes",
    "Source",
    "data_root",
    "ensure_dataset",
    "load_dataset",
    "where_is",
]

DATASETS: Final[dict[str, type[Data]]] = Data.known


def where_is(name: str, root: Root = None) -> str:
    """Where a data set's files are, or what they are fetched from and how large that is; touches nothing.

    Raises:
        ValueError: the name is not known.
        DataUnavailableError: they are missing and cannot be fetched; says which and where.
    """
    return f"{name}: {Data.named(name).where(root)}"


def ensure_dataset(name: str, root: Root = None) -> None:
    """Make sure that a data set's files are on this machine, unpacking or downloading them where they are not.

    Any number of processes may call this at once.

    Raises:
        ValueError: the name is not known.
        DataUnavailableError: the files are missing and the download failed, or there is none; says which and where.
    """
    Data.named(name).ensure(root)


def load_dataset(name: str, root: Root = None) -> Dataset:
    """A data set by name, read once for each process.

    Raises:
        ValueError: the name is not known.
        DataUnavailableError: the files are missing (see `ensure_dataset`) or damaged; says which.
    """
    ensure_dataset(name, root)
    return Data.named(name).load(root)

"""Data sets in files: how torchvision names, reads and downloads them."""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
from torch import Tensor

from psp_core.datasets.base import Moments, Sizes
from psp_core.datasets.unavailable import DataUnavailableError
from psp_core.messages import one_line

# N samples, C channels, H rows, W columns, I inputs (C * H * W)

IDX_FILES: Final = tuple(
    f"{part}-{kind}-ubyte" for part in ("train", "t10k") for kind in ("images-idx3", "labels-idx1")
)
IDX_IMAGES: Final = (60_000, 10_000)
"""For training and for testing, of each data set in this format here."""


@dataclass(frozen=True)
class Collection(ABC):
    """Files that were published together, for which torchvision has one class.

    Attributes:
        torchvision_class: its name.
        folder: where it looks for the files, relative to the data root.
        files: those it reads, for training and for testing.
        num_classes: labels are 0 .. num_classes - 1.
        archives: the packed files that it downloads, as paths below the data root.
        download_bytes: what they weigh.
    """

    torchvision_class: str
    folder: str
    files: tuple[str, ...]
    num_classes: int
    archives: tuple[str, ...]
    download_bytes: int

    def missing(self, root: Path) -> list[Path]:
        """The files that are not there (empty ones included)."""
        paths = [root / self.folder / name for name in self.files]
        return [path for path in paths if not path.is_file() or path.stat().st_size == 0]

    def download(self, root: Path) -> None:
        """Have torchvision download into `root`, where it leaves its archives too, and uses those that lie there."""
        self._open(root, download=True)

    def read(self, root: Path, *, train: bool) -> tuple[Tensor, Tensor]:
        """Images (N, I) as uint8 and labels (N,) as int64, of the training or of the test part.

        Raises:
            DataUnavailableError: the files are damaged; says which.
        """
        try:
            return self._read(root, train=train)
        except Exception as error:  # torchvision's readers raise many kinds
            raise DataUnavailableError(
                f"the files {', '.join(self.files)} in {root / self.folder} cannot be read "
                f"({type(error).__name__}: {one_line(error)}). Remove them, so that they are fetched again."
            ) from error

    @abstractmethod
    def _read(self, root: Path, *, train: bool) -> tuple[Tensor, Tensor]:
        """As `read`, with torchvision's own errors."""

    def _open(self, root: Path, **options: Any) -> Any:  # noqa: ANN401 - torchvision has no types
        import torchvision  # slow to import, and needed only here

        return getattr(torchvision.datasets, self.torchvision_class)(root, **options)


class Idx(Collection):
    """MNIST and what has its format."""

    def _read(self, root: Path, *, train: bool) -> tuple[Tensor, Tensor]:
        """Its tensors, flattened. Unlike the others, torchvision takes these files whatever they hold."""
        part = self._open(root, train=train, download=False)
        published = IDX_IMAGES[0 if train else 1]
        if not len(part.data) == len(part.targets) == published:
            raise ValueError(
                f"{len(part.data):,} images and {len(part.targets):,} labels where {published:,} were published"
            )
        return part.data.flatten(1), part.targets


class Cifar(Collection):
    """CIFAR-10, and CIFAR-100 with its fine labels.

    Their files are pickles. torchvision unpickles them only after it has compared their MD5 sums
    with those it knows, so that never anything but the published bytes is unpickled.
    """

    def _read(self, root: Path, *, train: bool) -> tuple[Tensor, Tensor]:
        """What torchvision turned to (N, H, W, C), as (N, C * H * W) again: the order of the files."""
        part = self._open(root, train=train, download=False)
        return _flat(part.data.transpose(0, 3, 1, 2)), torch.tensor(part.targets)


class Svhn(Collection):
    """Street View House Numbers, cropped digits, without the `extra` part; label 0 is digit 0."""

    def download(self, root: Path) -> None:
        """Both parts: torchvision downloads only the one that is asked for."""
        for split in ("train", "test"):
            self._open(root, split=split, download=True)

    def _read(self, root: Path, *, train: bool) -> tuple[Tensor, Tensor]:
        """Its (N, C, H, W), which MATLAB's file has column by column, row by row."""
        part = self._open(root, split="train" if train else "test", download=False)
        return _flat(part.data), torch.from_numpy(part.labels)


def _flat(pixels_NCHW: np.ndarray[Any, np.dtype[np.uint8]]) -> Tensor:
    """As (N, I), in one piece: Ray shares only such tensors between processes without a copy."""
    return torch.from_numpy(np.ascontiguousarray(pixels_NCHW)).flatten(1)


@dataclass(frozen=True, kw_only=True)
class Source:
    """What a data set is made of: one collection, or several that follow each other.

    Each collection's labels come after those of the collections before it. Pixels are scaled to
    (p / 255 - mean) / std.
    """

    sizes: Sizes
    mean: float
    std: float
    collections: tuple[Collection, ...]

    def missing(self, root: Path) -> list[Path]:
        """The files that are not there (empty ones included)."""
        return [path for collection in self.collections for path in collection.missing(root)]

    def read(self, root: Path, *, train: bool) -> tuple[Tensor, Tensor]:
        """Images (N, I) as uint8 and labels (N,) as int64, of the training or of the test part.

        Only the joined tensors outlive the call: a caller that reads one part after the other never
        has more than one part twice in memory.
        """
        images, labels, first_label = [], [], 0
        for collection in self.collections:
            part_images, part_labels = collection.read(root, train=train)
            images.append(part_images)
            labels.append(part_labels + first_label)
            first_label += collection.num_classes
        return _joined(images), _joined(labels)


def _joined(tensors: list[Tensor]) -> Tensor:
    return tensors[0] if len(tensors) == 1 else torch.cat(tensors)


CIFAR_10: Final = Cifar(
    "CIFAR10",
    "cifar-10-batches-py",
    (*(f"data_batch_{number}" for number in range(1, 6)), "test_batch", "batches.meta"),
    num_classes=10,
    archives=("cifar-10-python.tar.gz",),
    download_bytes=170_498_071,
)
CIFAR_100: Final = Cifar(
    "CIFAR100",
    "cifar-100-python",
    ("train", "test", "meta"),
    num_classes=100,
    archives=("cifar-100-python.tar.gz",),
    download_bytes=169_001_437,
)


def _idx(torchvision_class: str, download_bytes: int) -> Idx:
    folder = f"{torchvision_class}/raw"
    archives = tuple(f"{folder}/{name}.gz" for name in IDX_FILES)
    return Idx(torchvision_class, folder, IDX_FILES, 10, archives, download_bytes)


CIFAR_CHANNELS: Final[Moments] = ((0.491, 0.482, 0.447), (0.247, 0.243, 0.262))
"""As SupSup's code has them, for CIFAR-10 and CIFAR-100 alike (papers.md, B5)."""

# The other constants are those of PSP's authors (papers.md, A7): MNIST's mean and standard deviation for both of
# its format; pixels in [-1, 1] for coloured images.
SOURCES: Final = {
    "mnist": Source(
        sizes=Sizes((1, 28, 28), 10, 60_000, 10_000),
        mean=0.1307,
        std=0.3081,
        collections=(_idx("MNIST", 11_594_722),),
    ),
    "fashion-mnist": Source(
        sizes=Sizes((1, 28, 28), 10, 60_000, 10_000),
        mean=0.1307,
        std=0.3081,
        collections=(_idx("FashionMNIST", 30_878_645),),
    ),
    "cifar-10": Source(
        sizes=Sizes((3, 32, 32), 10, 50_000, 10_000, channels=CIFAR_CHANNELS),
        mean=0.5,
        std=0.5,
        collections=(CIFAR_10,),
    ),
    "cifar-100": Source(
        sizes=Sizes((3, 32, 32), 100, 50_000, 10_000, channels=CIFAR_CHANNELS),
        mean=0.5,
        std=0.5,
        collections=(CIFAR_100,),
    ),
    "cifar-10-100": Source(
        sizes=Sizes((3, 32, 32), 110, 100_000, 20_000, channels=CIFAR_CHANNELS),
        mean=0.5,
        std=0.5,
        collections=(CIFAR_10, CIFAR_100),
    ),
    "svhn": Source(
        sizes=Sizes((3, 32, 32), 10, 73_257, 26_032),
        mean=0.5,
        std=0.5,
        collections=(Svhn("SVHN", "", ("train_32x32.mat", "test_32x32.mat"), 10, (), 246_316_178),),
    ),
}

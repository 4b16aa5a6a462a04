"""Data sets, held whole as uint8 tensors and normalised when used."""

import contextlib
import io
import os
import shutil
import tempfile
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Final

import torch
from torch import Tensor

from psp_core.messages import lookup, one_line
from psp_core.randomness import generator

# N samples, I pixels

DIGITS: Final = "digits"
IDX_FILES: Final = tuple(
    f"{part}-{kind}-ubyte" for part in ("train", "t10k") for kind in ("images-idx3", "labels-idx1")
)


class DataUnavailableError(ValueError):
    """A data set's files are neither there nor to be had; the message names them."""


@dataclass(frozen=True, kw_only=True)
class Dataset:
    """Images (N, I) as uint8, labels (N,) as int64, for training and for testing.

    `normalise` maps pixel p to (p / scale - mean) / std.
    """

    name: str
    num_classes: int
    scale: float
    mean: float
    std: float
    train_images: Tensor
    train_labels: Tensor
    test_images: Tensor
    test_labels: Tensor

    @property
    def num_inputs(self) -> int:
        """I, the pixels of one image."""
        return self.train_images.shape[1]

    def normalise(self, pixels: Tensor) -> Tensor:
        """Pixels as uint8 to floats of about zero mean and unit variance, same shape."""
        return pixels.float().mul_(1 / (self.scale * self.std)).sub_(self.mean / self.std)

    def to(self, device: torch.device) -> "Dataset":
        """The same data set, its tensors on `device`."""
        return replace(
            self,
            train_images=self.train_images.to(device),
            train_labels=self.train_labels.to(device),
            test_images=self.test_images.to(device),
            test_labels=self.test_labels.to(device),
        )


@dataclass(frozen=True)
class Sizes:
    """What can be known of a data set without reading it."""

    num_inputs: int
    num_classes: int
    num_train: int
    num_test: int


@dataclass(frozen=True)
class Source:
    """Where torchvision finds a data set: its class, which is also its folder; its constants."""

    torchvision_class: str
    mean: float
    std: float

    def missing(self, root: Path) -> list[Path]:
        """The files that are not there (empty ones included)."""
        paths = [root / self.torchvision_class / "raw" / name for name in IDX_FILES]
        return [path for path in paths if not path.is_file() or path.stat().st_size == 0]


# Mean and standard deviation are MNIST's for both, as in the authors' code (papers.md, A7).
SOURCES: Final = {
    "mnist": Source("MNIST", 0.1307, 0.3081),
    "fashion-mnist": Source("FashionMNIST", 0.1307, 0.3081),
}
DATASETS: Final = {
    DIGITS: Sizes(64, 10, 1438, 359),
    "mnist": Sizes(784, 10, 60_000, 10_000),
    "fashion-mnist": Sizes(784, 10, 60_000, 10_000),
}


def data_root(root: str | os.PathLike[str] | None = None) -> Path:
    """The folder that holds the data: the argument, else $PSP_DATA, else the user's cache."""
    if chosen := root or os.environ.get("PSP_DATA"):
        return Path(chosen).expanduser().absolute()
    cache = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(cache) / "psp"


def ensure_dataset(name: str, root: str | os.PathLike[str] | None = None) -> None:
    """Make sure that a data set's files are on this machine, downloading them where they are not.

    Any number of processes may call this at once: one downloads, under a lock and beside the
    final place, and every finished file is moved in by a rename.

    Raises:
        ValueError: the name is not known.
        DataUnavailableError: the files are missing and the download failed; says which and where.
    """
    if name == DIGITS:
        return
    source = lookup("dataset", name, SOURCES)
    folder = data_root(root)
    if not source.missing(folder):
        return
    try:
        _download(source, folder)
    except Exception as error:  # torchvision and urllib raise many kinds; all mean: not to be had
        wanted = ", ".join(str(path) for path in source.missing(folder))
        raise DataUnavailableError(
            f"dataset={name!r} needs files that are missing: {wanted}; downloading them failed "
            f"({type(error).__name__}: {one_line(error)}). Point --data or PSP_DATA at a folder that has them "
            "in torchvision's layout, run once with a network, or use dataset 'digits', which needs no files."
        ) from error


def _download(source: Source, root: Path) -> None:
    import torchvision  # slow to import, and needed only here and in `_load_idx`
    from filelock import FileLock

    root.mkdir(parents=True, exist_ok=True)
    with FileLock(root / f".{source.torchvision_class}.lock"):
        if not source.missing(root):
            return  # another process was first
        staging = Path(tempfile.mkdtemp(dir=root, prefix=".download-"))
        try:
            with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
                getattr(torchvision.datasets, source.torchvision_class)(staging, download=True)
            final = root / source.torchvision_class / "raw"
            final.mkdir(parents=True, exist_ok=True)
            for path in (staging / source.torchvision_class / "raw").iterdir():
                path.replace(final / path.name)
        finally:
            shutil.rmtree(staging, ignore_errors=True)


def load_dataset(name: str, root: str | os.PathLike[str] | None = None) -> Dataset:
    """A data set by name, read once for each process.

    Raises:
        ValueError: the name is not known.
        DataUnavailableError: see `ensure_dataset`.
    """
    ensure_dataset(name, root)
    return _load_digits() if name == DIGITS else _load_idx(name, data_root(root))


@lru_cache(maxsize=2)
def _load_idx(name: str, root: Path) -> Dataset:
    import torchvision

    source = SOURCES[name]
    try:
        train, test = (
            getattr(torchvision.datasets, source.torchvision_class)(root, train=train, download=False)
            for train in (True, False)
        )
    except Exception as error:
        raise DataUnavailableError(
            f"dataset={name!r}: the files in {root / source.torchvision_class / 'raw'} cannot be read "
            f"({type(error).__name__}: {error}). Remove them, so that they are fetched again."
        ) from error
    return Dataset(
        name=name,
        num_classes=DATASETS[name].num_classes,
        scale=255.0,
        mean=source.mean,
        std=source.std,
        train_images=train.data.flatten(1),
        train_labels=train.targets,
        test_images=test.data.flatten(1),
        test_labels=test.targets,
    )


@lru_cache(maxsize=1)
def _load_digits() -> Dataset:
    """1,797 images of 8x8 pixels with values 0..16; a fixed fifth of them is the test set."""
    from sklearn.datasets import load_digits

    pixels, labels = load_digits(return_X_y=True)
    order = torch.randperm(len(labels), generator=generator(0, "digits split"))
    images = torch.from_numpy(pixels).to(torch.uint8)[order]
    targets = torch.from_numpy(labels).long()[order]
    num_test = DATASETS[DIGITS].num_test
    unit = images[num_test:].double() / 16
    return Dataset(
        name=DIGITS,
        num_classes=DATASETS[DIGITS].num_classes,
        scale=16.0,
        mean=unit.mean().item(),
        std=unit.std().item(),
        train_images=images[num_test:],
        train_labels=targets[num_test:],
        test_images=images[:num_test],
        test_labels=targets[:num_test],
    )

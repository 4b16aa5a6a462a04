"""ImageNet (ILSVRC2012), from folders of JPEG files: 190 GB once decoded, so its images stay in their files."""

import textwrap
from functools import lru_cache
from pathlib import Path
from typing import ClassVar, Final

from torch import Tensor

from psp_core.datasets.base import Dataset, Moments, Sizes
from psp_core.datasets.data import Data, Root
from psp_core.datasets.folders import FolderImages, list_folder
from psp_core.datasets.places import data_root, existing
from psp_core.datasets.unavailable import DataUnavailableError
from psp_core.messages import one_line

IMAGENET: Final = "imagenet"
CHANNELS: Final[Moments] = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
"""The usual ones, which SupSup's code has too."""

SIZES: Final = Sizes((3, 224, 224), 1000, 1_281_167, 50_000, in_memory=False, channels=CHANNELS)
"""Numbers of images as published, for planning; what the folders have is what is used."""


class Imagenet(Data, name=IMAGENET):
    """1000 classes, 1,281,167 and 50,000 images of 3 x 224 x 224 numbers."""

    sizes: ClassVar[Sizes] = SIZES

    @classmethod
    def where(cls, root: Root) -> str:
        """Its folder."""
        folder = existing(cls.name, root)
        find_imagenet(folder)
        return f"in {folder / IMAGENET}"

    @classmethod
    def ensure(cls, root: Root) -> None:
        """There is no download: registration is needed."""
        find_imagenet(existing(cls.name, root))

    @classmethod
    def load(cls, root: Root) -> Dataset:
        """Its images, which stay in their files."""
        return load_imagenet(data_root(root))


def find_imagenet(root: Path) -> None:
    """See that the folders are there.

    Raises:
        DataUnavailableError: one is not; says which, and what to put there.
    """
    missing = [str(folder) for folder in _folders(root) if not folder.is_dir()]
    if missing:
        raise _refusal(root, f"missing: {', '.join(missing)}")


@lru_cache(maxsize=1)
def load_imagenet(root: Path) -> Dataset:
    """List the images below `root`/imagenet; nothing is decoded yet. Labels are places in the classes' sorted order.

    Other data sets here have one mean and one standard deviation for all channels, and so has this: the means of
    `CHANNELS`, by which images are normalised on demand. Parts of random sizes and shapes, as the authors train on, are
    not cut out of images.

    Raises:
        DataUnavailableError: the folders do not have the same 1000 classes, or a class has no image.
    """
    (classes, train_images, train_labels), (others, test_images, test_labels) = (
        _listed(root, folder) for folder in _folders(root)
    )
    if classes != others:
        alone = min(set(classes) ^ set(others))
        of, lacks = _folders(root) if alone in classes else reversed(_folders(root))
        raise _refusal(root, f"the class folder {alone} is in {of} and not in {lacks}")
    return Dataset(
        name=IMAGENET,
        shape=SIZES.shape,
        num_classes=SIZES.num_classes,
        scale=255.0,
        mean=0.449,
        std=0.226,
        channels=CHANNELS,
        train_images=train_images,
        train_labels=train_labels,
        test_images=test_images,
        test_labels=test_labels,
    )


def _listed(root: Path, folder: Path) -> tuple[list[str], FolderImages, Tensor]:
    try:
        listed = list_folder(folder)
    except OSError as error:
        raise _refusal(root, f"in {folder}: {textwrap.shorten(one_line(error), 300)}") from error
    if len(listed[0]) != SIZES.num_classes:
        raise _refusal(root, f"{folder} has {len(listed[0])} class folders")
    return listed


def _folders(root: Path) -> tuple[Path, Path]:
    return root / IMAGENET / "train", root / IMAGENET / "val"


def _refusal(root: Path, problem: str) -> DataUnavailableError:
    train, val = _folders(root)
    return DataUnavailableError(
        f"dataset={IMAGENET!r} is read from {train} and {val}, each with the same {SIZES.num_classes} folders of JPEG "
        f"files, one for each class (n01440764, ...); {problem}. It cannot be downloaded without registration: get "
        "ILSVRC2012 from image-net.org and unpack it there, the validation images sorted into their classes' "
        "folders, or point --data or PSP_DATA at the folder that has imagenet/train and imagenet/val."
    )

"""The digits that are part of scikit-learn: the data set that needs no files."""

from functools import lru_cache
from typing import ClassVar, Final

import torch

from psp_core.datasets.base import Dataset, Sizes
from psp_core.datasets.data import Data, Root
from psp_core.randomness import generator

SIZES: Final = Sizes((1, 8, 8), 10, 1438, 359)


class Digits(Data, name="digits"):
    """10 classes, 1,438 and 359 images of 1 x 8 x 8 numbers."""

    sizes: ClassVar[Sizes] = SIZES

    @classmethod
    def where(cls, root: Root) -> str:
        """In the package."""
        return "part of scikit-learn"

    @classmethod
    def load(cls, root: Root) -> Dataset:
        """Its images, in memory."""
        return load_digits()


@lru_cache(maxsize=1)
def load_digits() -> Dataset:
    """1,797 images of 8x8 pixels with values 0..16; a fixed fifth of them is the test set."""
    from sklearn import datasets  # slow to import, and needed only here

    pixels, labels = datasets.load_digits(return_X_y=True)
    order = torch.randperm(len(labels), generator=generator(0, "digits split"))
    images = torch.from_numpy(pixels).to(torch.uint8)[order]
    targets = torch.from_numpy(labels).long()[order]
    num_test = SIZES.num_test
    unit = images[num_test:].double() / 16
    return Dataset(
        name=Digits.name,
        shape=SIZES.shape,
        num_classes=SIZES.num_classes,
        scale=16.0,
        mean=unit.mean().item(),
        std=unit.std().item(),
        train_images=images[num_test:],
        train_labels=targets[num_test:],
        test_images=images[:num_test],
        test_labels=targets[:num_test],
    )

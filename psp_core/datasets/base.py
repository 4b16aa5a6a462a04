"""What a data set is: images as uint8, held whole or left in their files, normalised when used."""

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import torch
from torch import Tensor

if TYPE_CHECKING:
    from psp_core.datasets.folders import FolderImages

# N samples, I inputs (the pixels of one image: channels, then rows, then columns)


class DataUnavailableError(ValueError):
    """A data set's files are neither there nor to be had; the message names them."""


@dataclass(frozen=True)
class Sizes:
    """What can be known of a data set without reading it.

    Attributes:
        shape: an image's channels, height and width.
        num_classes: labels are 0 .. num_classes - 1.
        num_train: training images.
        num_test: test images.
        in_memory: whether a device holds all images; else those of one task (`FolderImages`).
    """

    shape: tuple[int, int, int]
    num_classes: int
    num_train: int
    num_test: int
    in_memory: bool = True

    @property
    def num_inputs(self) -> int:
        """I, the pixels of one image, each channel's counted."""
        return math.prod(self.shape)


@dataclass(frozen=True, kw_only=True)
class Dataset:
    """Images (N, I) as uint8, labels (N,) as int64, for training and for testing.

    An image lies flat in the order channels, rows, columns: `images.unflatten(1, shape)` is
    (N, C, H, W). `normalise` maps pixel p to (p / scale - mean) / std. Images are tensors, or stay in
    their files where they are too many; both give a tensor for the numbers of samples.

    Raises:
        ValueError: the images do not have as many pixels as `shape` says.
    """

    name: str
    shape: tuple[int, int, int]
    num_classes: int
    scale: float
    mean: float
    std: float
    train_images: "Tensor | FolderImages"
    train_labels: Tensor
    test_images: "Tensor | FolderImages"
    test_labels: Tensor

    def __post_init__(self) -> None:
        """Check the images against the shape."""
        for images in (self.train_images, self.test_images):
            if images.shape[1:] != (self.num_inputs,):
                raise ValueError(
                    f"dataset={self.name!r}: shape={self.shape} needs images as (N, {self.num_inputs}); "
                    f"they are {tuple(images.shape)}. Flatten them, channels first."
                )

    @property
    def num_inputs(self) -> int:
        """I, the pixels of one image, each channel's counted."""
        return math.prod(self.shape)

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

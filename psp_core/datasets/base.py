"""What a data set is: images as uint8, held whole or left in their files, normalised when used."""

import math
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from psp_core.datasets.folders import FolderImages

# N samples, C channels, I inputs (the pixels of one image: channels, then rows, then columns)

Moments = tuple[tuple[float, ...], tuple[float, ...]]
"""The mean of each channel, and the standard deviation of each."""


@dataclass(frozen=True)
class Sizes:
    """What can be known of a data set without reading it.

    Attributes:
        shape: an image's channels, height and width.
        num_classes: labels are 0 .. num_classes - 1.
        num_train: training images.
        num_test: test images.
        in_memory: whether a device holds all images; else those of one task (`FolderImages`).
        channels: the mean and standard deviation of each channel, where they are known.
    """

    shape: tuple[int, int, int]
    num_classes: int
    num_train: int
    num_test: int
    in_memory: bool = True
    channels: Moments | None = None

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

    Attributes:
        name: as in a study.
        shape: of an image, (C, H, W).
        num_classes: labels are 0 .. num_classes - 1.
        scale: the largest pixel.
        mean: of pixels / scale; a number, or a tensor with one for each place of an image, (I,).
        std: likewise.
        train_images, train_labels, test_images, test_labels: what was published.
        channels: the mean and standard deviation of each channel, where they are known.

    Raises:
        ValueError: the images do not have as many pixels as `shape` says.
    """

    name: str
    shape: tuple[int, int, int]
    num_classes: int
    scale: float
    mean: float | Tensor
    std: float | Tensor
    train_images: Tensor | FolderImages
    train_labels: Tensor
    test_images: Tensor | FolderImages
    test_labels: Tensor
    channels: Moments | None = None

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
        """Pixels as uint8 to floats, same shape: as a rule of about zero mean and unit variance."""
        return pixels.to(torch.get_default_dtype()).mul_(1 / (self.scale * self.std)).sub_(self.mean / self.std)

    def constants(self) -> Tensor | None:
        """What `normalise` multiplies pixels by and takes from them then, (2,); None where places differ in it."""
        if isinstance(self.mean, Tensor) or isinstance(self.std, Tensor):
            return None
        return torch.tensor([1 / (self.scale * self.std), self.mean / self.std])

    def normalised(self, how: str) -> "Dataset":
        """The same data set with another normalisation.

        Args:
            how: `data-set`, as it is; `unit`, in [0, 1]; or `by-channel`, with each channel's mean and deviation.

        Raises:
            ValueError: `by-channel`, and those are not known.
        """
        if how == "data-set":
            return self
        if how == "unit":
            return replace(self, mean=0.0, std=1.0)
        if self.channels is None:
            raise ValueError(f"dataset={self.name!r} has no constants for each channel; use normalisation 'data-set'.")
        pixels = math.prod(self.shape[1:])
        mean, std = (torch.tensor(values).repeat_interleave(pixels) for values in self.channels)
        return replace(self, mean=mean, std=std)

    def to(self, device: torch.device) -> "Dataset":
        """The same data set, its tensors on `device`."""
        mean, std = (value.to(device) if isinstance(value, Tensor) else value for value in (self.mean, self.std))
        return replace(
            self,
            mean=mean,
            std=std,
            train_images=self.train_images.to(device),
            train_labels=self.train_labels.to(device),
            test_images=self.test_images.to(device),
            test_labels=self.test_labels.to(device),
        )

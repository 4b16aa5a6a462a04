"""Random crops and flips of training images, on the device."""

from typing import ClassVar, Final

import torch
from torch import Tensor
from torch.nn import functional as F

from psp_core.course import Course
from psp_core.parts import Part
from psp_core.randomness import generator

# N images, S steps, B batch, I numbers of an image: C channels, H rows, W columns

PADDING: Final = 4
"""Black pixels at each side of an image before a part of the image's own size is cut out of it."""


class Augmentation(Part, family="augmentation"):
    """What happens to an image each time that training sees the image; tests see images as they are.

    The data set's image is changed, before the stream makes the task's of it.

    Attributes:
        crops: whether the image is padded by `PADDING` zeros at each side, and a part of its size cut out anywhere.
        flips: whether left and right then change sides, of every second image.

    Source: the usual one of CIFAR, and paper B's (papers.md, B5). Zeros are pixels, not yet normalised, as there.
    """

    crops: ClassVar[bool] = False
    flips: ClassVar[bool] = False

    @property
    def is_any(self) -> bool:
        """Whether images change at all."""
        return self.crops or self.flips

    def draw(self, trial: Course, visit: int) -> Tensor:
        """What is drawn for each sample of a task's batches, (S, B, 3) int8, on the CPU.

        The first row and the first column of the part in the padded image, each 0 to 2 `PADDING`, and whether the
        part is flipped, 0 or 1. Depends on the seed and on how many tasks came before, on nothing else.
        """
        shape = (trial.steps_per_task, trial.batch_size)
        rng = generator(trial.seed, "augmentation", visit)
        starts = torch.randint(2 * PADDING + 1, (*shape, 2), generator=rng, dtype=torch.int8)
        flips = torch.randint(2, (*shape, 1), generator=rng, dtype=torch.int8)
        return torch.cat([starts if self.crops else torch.full_like(starts, PADDING), flips * self.flips], dim=-1)


def augmented(images_NI: Tensor, drawn_N3: Tensor, shape: tuple[int, int, int]) -> Tensor:
    """The part of each image that was drawn for it, (N, I) of any dtype to the same.

    Args:
        images_NI: images, flat.
        drawn_N3: for each its first row, first column and flip, as `Augmentation.draw` gives them.
        shape: (C, H, W) of an image.
    """
    channels, height, width = shape
    row_N, column_N, flip_N = drawn_N3.long().unbind(-1)
    rows_NH = row_N[:, None] + torch.arange(height, device=images_NI.device)
    columns_W = torch.arange(width, device=images_NI.device)
    columns_NW = column_N[:, None] + torch.where(flip_N[:, None] > 0, width - 1 - columns_W, columns_W)
    places_NHW = rows_NH[:, :, None] * (width + 2 * PADDING) + columns_NW[:, None, :]
    padded = F.pad(images_NI.view(-1, *shape), [PADDING] * 4).flatten(2)
    return padded.gather(2, places_NHW.flatten(1)[:, None].expand(-1, channels, -1)).view_as(images_NI)


class NoAugmentation(Augmentation, name="none"):
    """Images as they are."""


class Flip(Augmentation, name="flip"):
    """Left and right change sides in half of the images."""

    flips: ClassVar[bool] = True


class CropFlip(Augmentation, name="crop-flip"):
    """A part of an image's size is cut out of the image with 4 black pixels around it; then as `flip`."""

    crops: ClassVar[bool] = True
    flips: ClassVar[bool] = True


AUGMENTATIONS: Final[dict[str, type[Augmentation]]] = Augmentation.known

"""The turned stream: every task shows the same images turned by an angle of its own."""

import math
from typing import Final, Literal

import torch
from torch import Tensor

from psp_core.course import Course
from psp_core.datasets import Sizes
from psp_core.parts import setting
from psp_core.streams.base import Stream, Tasks
from psp_core.streams.rotating import RotatingTasks

# E members, B batch, I numbers of an image: C channels, H rows, W columns

ANGLES: Final = 36
"""Tasks in a full turn, 10 degrees apart."""

_FRACTION: Final = 16  # bits behind the point of Pillow's coordinates


class Turned(Stream, name="turned"):
    """Every task shows the same images turned by 10 degrees more than the task before; 36 tasks at most."""

    interpolation: Literal["bilinear", "nearest"] = setting(
        "bilinear",
        "How the pixels of a turned image are found: `bilinear`, from the four nearest pixels, or `nearest`, from "
        "one, as in paper B's released code.",
        column="interpolation",
    )

    @property
    def is_random(self) -> bool:
        """The angles are not."""
        return False

    def tasks(self, data: Sizes, num_tasks: int, seed: int) -> Tasks:
        """Angles 10 degrees apart."""
        return TurnedTasks(data.shape, self.interpolation)

    def check(self, trial: Course) -> None:
        """Refuse more tasks than there are angles."""
        super().check(trial)
        if trial.num_tasks > ANGLES:
            raise ValueError(
                f"num_tasks={trial.num_tasks}: stream='turned' has {ANGLES} at most, 10 degrees apart; give fewer."
            )


class TurnedTasks(RotatingTasks):
    """Task k shows all images turned by 10 k degrees counter-clockwise, k = 0..35; task 0 as they are.

    Nothing changes within a task, nothing is random, and task k is the same whatever the number of tasks.
    Images turn about the centre, with black (0) where nothing is known.

    Args:
        shape: (C, H, W) of an image.
        interpolation: between pixels `bilinear`, as the rotating stream; or `nearest`, which moves whole pixels: to the
            bit what Pillow's `Image.rotate` does by default.

    Source: RotatedMNIST of paper B (papers.md, B3 and B5). Its authors turn images with PIL before they are scaled,
    by nearest neighbour; this is a map for whole batches on the device.
    """

    def __init__(self, shape: tuple[int, int, int], interpolation: str = "bilinear") -> None:
        """Tasks of a rotating stream of 36, each standing still where that one begins the task."""
        super().__init__(shape, ANGLES)
        self.interpolation = interpolation

    def describe(self, task: int, fraction: float = 0.0) -> Tensor:
        """The angle in radians, shape (); of `nearest` which number of the image each one is, (I,), -1 for black."""
        if self.interpolation == "bilinear":
            return super().describe(task)
        channels, height, width = self.shape
        of_channel = nearest_pixels(height, width, 360 / ANGLES * task)
        first = height * width * torch.arange(channels)[:, None]
        return torch.where(of_channel < 0, -1, first + of_channel).flatten()

    def pixels(self, description_E: Tensor, num_inputs: int) -> Tensor | None:
        """Where the nearest pixels are taken, which they are."""
        return None if self.interpolation == "bilinear" else description_E

    def apply(self, images_EBI: Tensor, description_E: Tensor) -> Tensor:
        """Turn each member's images, (E, B, I), by its angle: floats; or move their pixels: the images' own type."""
        if self.interpolation == "bilinear":
            return super().apply(images_EBI, description_E)
        pixels_EI = description_E.clamp(min=0)
        if len(images_EBI) == 1:  # one row of indices serves all
            moved_EBI = images_EBI.index_select(2, pixels_EI[0])
        else:
            moved_EBI = images_EBI.gather(2, pixels_EI[:, None, :].expand_as(images_EBI))
        return moved_EBI.masked_fill(description_E[:, None, :] < 0, 0)


def nearest_pixels(height: int, width: int, degrees: float) -> Tensor:
    """Which pixel of an image each pixel of the turned one is, row by row, -1 where it is none: int64 (H * W,).

    In Pillow's arithmetic: output pixel (x, y) has its centre at (x + 1/2, y + 1/2), whose place in the input is found
    with 16 bits behind the point and cut off to whole pixels.
    """
    angle = -math.radians(degrees % 360)
    cos, sin = round(math.cos(angle), 15), round(math.sin(angle), 15)
    of_x = _from_places(cos, sin, width / 2, height / 2, width / 2)
    of_y = _from_places(-sin, cos, width / 2, height / 2, height / 2)
    x, y = torch.arange(width), torch.arange(height)[:, None]
    column, row = ((start + by_x * x + by_y * y) >> _FRACTION for start, by_x, by_y in (of_x, of_y))
    inside = (column >= 0) & (column < width) & (row >= 0) & (row < height)
    return torch.where(inside, row * width + column, -1).flatten()


def _from_places(by_x: float, by_y: float, centre_x: float, centre_y: float, centre: float) -> tuple[int, int, int]:
    """A coordinate of the input at output pixel (0, 0), and how it changes from column to column and row to row."""
    start = by_x * -centre_x + by_y * -centre_y + centre
    numbers = (start + by_x * 0.5 + by_y * 0.5, by_x, by_y)
    first, of_column, of_row = (math.floor(number * 2**_FRACTION + 0.5) for number in numbers)
    return first, of_column, of_row

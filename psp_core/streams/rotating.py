"""The rotating stream: the images turn a little further at every step."""

import math
from typing import ClassVar

import torch
from torch import Tensor
from torch.nn.functional import affine_grid, grid_sample

from psp_core.datasets import Sizes
from psp_core.streams.base import Stream, Tasks

# E members, B batch, I numbers of an image: C channels, H rows, W columns


class Rotating(Stream, name="rotating"):
    """Every task is a part of a turn of the same images, which turn a little further at every step."""

    is_continuous: ClassVar[bool] = True
    is_nested: ClassVar[bool] = False

    @property
    def is_random(self) -> bool:
        """Nothing here is."""
        return False

    def tasks(self, data: Sizes, num_tasks: int, seed: int) -> Tasks:
        """Equal parts of a full turn."""
        return RotatingTasks(data.shape, num_tasks)


class RotatingTasks(Tasks):
    """A full turn in K tasks: within task k the angle goes from 360 k/K to 360 (k+1)/K degrees.

    Images turn counter-clockwise about their centre, between pixels by bilinear interpolation, with
    black (0) where nothing is known. Task k is measured at the angle at which it begins, so task 0
    at 0 degrees. Nothing here is random.

    Args:
        shape: (C, H, W) of an image.
        num_tasks: K.

    Source: paper A, section 4.2.2: a turn takes 1000 steps, so K = 10 tasks of 100 steps, and the
    turns are repeated (`num_cycles`). The authors turn images with skimage one by one; this is the
    same map for a whole batch, on the device.
    """

    def __init__(self, shape: tuple[int, int, int], num_tasks: int) -> None:
        """Remember both."""
        self.shape = shape
        self.num_tasks = num_tasks

    def describe(self, task: int, fraction: float = 0.0) -> Tensor:
        """The angle in radians, shape ()."""
        return torch.tensor(2 * math.pi * (task + fraction) / self.num_tasks)

    def apply(self, images_EBI: Tensor, description_E: Tensor) -> Tensor:
        """Turn each member's images by its angle, shapes (E, B, I) and (E,); gives floats."""
        num_members, batch, _ = images_EBI.shape
        _, height, width = self.shape
        cos, sin, zero = description_E.cos(), description_E.sin(), torch.zeros_like(description_E)
        # Where in the image each pixel of the turned one comes from; rows are numbered downwards.
        of_x = torch.stack([cos, -sin * (height - 1) / max(width - 1, 1), zero], dim=-1)
        of_y = torch.stack([sin * (width - 1) / max(height - 1, 1), cos, zero], dim=-1)
        grid = affine_grid(torch.stack([of_x, of_y], dim=1), [num_members, 1, height, width], align_corners=True)
        images_EBI = images_EBI.to(torch.get_default_dtype())
        pictures = images_EBI.view(num_members, -1, height, width)  # all of a member's turn alike
        return grid_sample(pictures, grid, align_corners=True).view(num_members, batch, -1)

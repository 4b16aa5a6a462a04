"""The permuting stream: every task shows the same images with its pixels in another order."""

from typing import ClassVar

import torch
from torch import Tensor

from psp_core.datasets import Sizes
from psp_core.parts import setting
from psp_core.randomness import generator
from psp_core.streams.base import Stream, Tasks

# E members, B batch, I numbers of an image


class Permuting(Stream, name="permuting"):
    """Every task shows the same images with their pixels in another order."""

    is_permuted: ClassVar[bool] = True

    permute_first: bool = setting(False, "Whether task 0 is permuted as well.", column="permute_first")

    def tasks(self, data: Sizes, num_tasks: int, seed: int) -> Tasks:
        """Tasks whose permutations depend on the seed and the task alone."""
        return PermutingTasks(data.num_inputs, seed, permute_first=self.permute_first)


class PermutingTasks(Tasks):
    """Task k permutes the numbers of all images in its own way; task 0 leaves them as they are.

    The colours of an image are permuted together with its pixels: I numbers in all.

    Args:
        num_inputs: I, the numbers of one image.
        seed: the permutations depend on it and on the task, on nothing else.
        permute_first: permute task 0 too (paper B does, paper A's code does not).

    Source: paper A, section 4.2.1; papers.md, A7 and B5.
    """

    def __init__(self, num_inputs: int, seed: int, *, permute_first: bool = False) -> None:
        """Remember what the permutations depend on."""
        self.num_inputs = num_inputs
        self.seed = seed
        self.permute_first = permute_first

    def describe(self, task: int, fraction: float = 0.0) -> Tensor:
        """The permutation of task `task`: pixel i of its images is pixel p[i] of the data set's."""
        if task == 0 and not self.permute_first:
            return torch.arange(self.num_inputs)
        return torch.randperm(self.num_inputs, generator=generator(self.seed, "permutation", task))

    def pull_back(self, weights_M: Tensor, descriptions_M: Tensor) -> Tensor:
        """The same weights with their rows, the pixels', in the data set's order."""
        num_networks, num_inputs = descriptions_M.shape
        first_row_M1 = torch.arange(num_networks, device=weights_M.device)[:, None] * num_inputs
        places = torch.arange(num_inputs, device=weights_M.device).expand_as(descriptions_M)
        inverse = torch.empty_like(descriptions_M).scatter_(1, descriptions_M, places)
        rows = (inverse + first_row_M1).flatten()
        return weights_M.flatten(0, 1).index_select(0, rows).view_as(weights_M)

    def pixels(self, description_E: Tensor, num_inputs: int) -> Tensor:
        """The permutations."""
        return description_E

    def apply(self, images_EBI: Tensor, description_E: Tensor) -> Tensor:
        """Permute the pixels of each member's images, shapes (E, B, I) and (E, I)."""
        if len(images_EBI) == 1:  # one row of indices serves all: twice as fast as a gather on CPUs
            return images_EBI.index_select(2, description_E[0])
        return images_EBI.gather(2, description_E[:, None, :].expand_as(images_EBI))

"""A step's images before they are a network's inputs, so that a network can have them made into what it needs."""

from dataclasses import dataclass

import torch
from torch import Tensor

from psp_core.augmentation import augmented
from psp_core.datasets import Dataset
from psp_core.kernels import inputs as kernel
from psp_core.kernels.choice import has_kernels
from psp_core.streams import Tasks

# E members, B batch, N images, I numbers of an image


@dataclass(frozen=True, kw_only=True)
class Images:
    """The images of E batches, of which a stream makes a task's images.

    Attributes:
        images_NI: what they are taken from, as the data set has them.
        samples_EB: their numbers there.
        drawn_EB3: how they are cropped and flipped, as `Augmentation.draw` gives it; None where they are not.
        tasks: of one of the members, which stands for all.
        description_E: what each member's task is.
        dataset: its normalisation.
        constants_2: `Dataset.constants`, on the images' device.
    """

    images_NI: Tensor
    samples_EB: Tensor
    drawn_EB3: Tensor | None
    tasks: Tasks
    description_E: Tensor
    dataset: Dataset
    constants_2: Tensor | None

    def inputs(self) -> Tensor:
        """The inputs (E, B, I), normalised."""
        made_EBI = self.bound_inputs(None, torch.get_default_dtype())
        return self._by_operations() if made_EBI is None else made_EBI

    def _by_operations(self) -> Tensor:
        return self.dataset.normalise(self.pixels())

    def pixels(self) -> Tensor:
        """The task's images (E, B, I) before they are normalised: bytes, or what a stream makes of them."""
        images_NI = self.images_NI.index_select(0, self.samples_EB.flatten())
        if self.drawn_EB3 is not None:
            images_NI = augmented(images_NI, self.drawn_EB3.view(-1, 3), self.dataset.shape)
        images_EBI = images_NI.view(*self.samples_EB.shape, -1)
        return self.tasks.apply(images_EBI, self.description_E)

    def bound_inputs(self, factors_EI: Tensor | None, dtype: torch.dtype) -> Tensor | None:
        """Each input times its member's number, as `dtype`, in one pass; None where that cannot be.

        Args:
            factors_EI: the numbers; None for ones.
            dtype: of the result.
        """
        if self.drawn_EB3 is not None or self.constants_2 is None or not has_kernels(self.images_NI.device):
            return None
        pixels_EI = self.tasks.pixels(self.description_E, self.dataset.num_inputs)
        if pixels_EI is None:
            return None
        return kernel.launch(self.images_NI, self.samples_EB, pixels_EI, self.constants_2, factors_EI, dtype)


StepBatch = tuple[Tensor | Images, Tensor]
"""What a step trains on: inputs (E, B, I), or of what they are made, and labels (E, B)."""


def inputs_of(x: Tensor | Images) -> Tensor:
    """The inputs (E, B, I), made if they are not yet."""
    return x.inputs() if isinstance(x, Images) else x

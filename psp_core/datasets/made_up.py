"""Random images in the shape of a real data set: good for measuring time, needs no files."""

import torch
from torch import Tensor

from psp_core.datasets.base import Dataset
from psp_core.datasets.data import Data


def made_up(name: str) -> Dataset:
    """A data set that only looks like one of the known ones."""
    sizes = Data.named(name).sizes
    rng = torch.Generator().manual_seed(0)

    def images(number: int) -> Tensor:
        return torch.randint(256, (number, sizes.num_inputs), generator=rng).to(torch.uint8)

    def labels(number: int) -> Tensor:
        return torch.randint(sizes.num_classes, (number,), generator=rng)

    return Dataset(
        name=name,
        shape=sizes.shape,
        num_classes=sizes.num_classes,
        scale=255.0,
        mean=0.13,
        std=0.31,
        train_images=images(sizes.num_train),
        train_labels=labels(sizes.num_train),
        test_images=images(sizes.num_test),
        test_labels=labels(sizes.num_test),
    )

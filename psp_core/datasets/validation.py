"""The validation part of a data set: training images that are kept away from training."""

import torch
from torch import Tensor

from psp_core.randomness import generator

# N training images, V of them kept, n of one class


def parted(labels_N: Tensor, number: int) -> tuple[Tensor, Tensor]:
    """The training images in two parts: those that are trained on, in their order, and those that are kept.

    All training images are shuffled once, by a seed that belongs to no trial. The image that comes i-th among the n of
    its class stands at (i + 1/2) / n of the way, and the first V images on that way are kept. So each class is kept in
    proportion, to one image; no order of classes or files matters; and a smaller part lies in a larger one.

    Args:
        labels_N: of all training images.
        number: V, how many are kept.

    Returns:
        The numbers of the images, int64, on the CPU: (N - V,) and (V,), the latter shuffled.
    """
    labels_N = labels_N.cpu()
    if not number:
        return torch.arange(len(labels_N)), torch.empty(0, dtype=torch.int64)
    shuffled_N = torch.randperm(len(labels_N), generator=generator(0, "validation images"))
    by_class_N = labels_N[shuffled_N].sort(stable=True)
    sizes_C = labels_N.bincount()
    first_C = sizes_C.cumsum(0) - sizes_C
    place_N = torch.arange(len(labels_N)) - first_C[by_class_N.values]
    way_N = torch.empty(len(labels_N), dtype=torch.float64)
    way_N[by_class_N.indices] = (place_N.double() + 0.5) / sizes_C[by_class_N.values]
    kept_V = shuffled_N[way_N.argsort(stable=True)[:number]]
    is_trained_N = torch.ones(len(labels_N), dtype=torch.bool)
    is_trained_N[kept_V] = False
    return is_trained_N.nonzero()[:, 0], kept_V

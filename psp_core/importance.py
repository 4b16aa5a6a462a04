"""What single images tell of a network's weights: sizes of gradients of functions of the outputs."""

from abc import ABC, abstractmethod
from collections.abc import Iterator

import torch
from torch import Tensor

# E members, B images, O outputs, V functions of an image's outputs


class Importance(ABC):
    """sum over functions f_v of the outputs of a_v size(d f_v / dw), of each image alone.

    It is said twice, for the two ways to a gradient: by functions that autograd differentiates, and by the gradients of
    the outputs with which a backward pass by hand begins. `size` must keep products, size(z g) = size(z) size(g), so
    that a sum over images of size(z g^T), z a linear layer's input and g its output's gradient, is one product.
    """

    @abstractmethod
    def functions(self, logits_O: Tensor) -> tuple[Tensor, Tensor]:
        """f, (V,), to be differentiated; and a, (V,)."""

    @abstractmethod
    def output_gradients(self, logits_EBO: Tensor) -> Iterator[Tensor]:
        """For each v the gradient of f_v by the outputs, (E, B, O), scaled so that its size is a_v times as large."""

    @abstractmethod
    def size(self, gradient: Tensor) -> Tensor:
        """Number by number."""


class Fisher(Importance):
    """E_{y ~ p(y|x)} (d log p(y|x) / dw)^2: V is O, an answer each, a is p."""

    def functions(self, logits_O: Tensor) -> tuple[Tensor, Tensor]:
        """The log of p, and p."""
        log_p_O = logits_O.log_softmax(-1)
        return log_p_O, log_p_O.exp()

    def output_gradients(self, logits_EBO: Tensor) -> Iterator[Tensor]:
        """(1 at the answer - p) sqrt(p of the answer)."""
        p_EBO = logits_EBO.softmax(-1)
        for answer in range(p_EBO.shape[-1]):
            g_EBO = p_EBO.neg()
            g_EBO[..., answer] += 1
            yield g_EBO.mul_(p_EBO[..., answer, None].sqrt())

    def size(self, gradient: Tensor) -> Tensor:
        """The square."""
        return gradient.square()


class OutputNorm(Importance):
    """|d ||f(x)||^2 / dw|, f the network's outputs before softmax: V is 1, a is 1."""

    def functions(self, logits_O: Tensor) -> tuple[Tensor, Tensor]:
        """The square of the outputs' length."""
        length_1 = logits_O.square().sum(-1, keepdim=True)
        return length_1, torch.ones_like(length_1)

    def output_gradients(self, logits_EBO: Tensor) -> Iterator[Tensor]:
        """Twice the outputs."""
        yield 2 * logits_EBO

    def size(self, gradient: Tensor) -> Tensor:
        """Without the sign."""
        return gradient.abs()

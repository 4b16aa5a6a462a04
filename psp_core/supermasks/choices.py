"""Which weights a mask chooses by its scores, as a study says it."""

from abc import abstractmethod

from torch import Tensor

from psp_core.parts import Part, setting
from psp_core.rules import positive
from psp_core.supermasks.masks import (
    erdos_renyi_density,
    threshold_mask,
    threshold_score_gradient,
    top_k_mask,
    top_k_score_gradient,
)

# E members, I inputs, O outputs


class Masks(Part, family="masks"):
    """The step from scores to a mask, and the gradient back."""

    def density(self, inputs: int, outputs: int, kernel: int = 1) -> float:
        """The share of a layer's weights that its masks keep, where the scores leave it open."""
        return 1.0

    @abstractmethod
    def mask(self, scores: Tensor, density: float) -> Tensor:
        """Zeros and ones of the scores' shape, (I, O) or (E, I, O)."""

    @abstractmethod
    def score_gradient(self, mask_gradient: Tensor, scores: Tensor) -> Tensor:
        """What the scores' gradient is for the mask's."""


class Threshold(Masks, name="threshold"):
    """Ones where scores are not negative."""

    def mask(self, scores: Tensor, density: float) -> Tensor:
        """See `threshold_mask`."""
        return threshold_mask(scores)

    def score_gradient(self, mask_gradient: Tensor, scores: Tensor) -> Tensor:
        """Straight through."""
        return threshold_score_gradient(mask_gradient)


class TopK(Masks, name="top-k"):
    """Ones at the scores of largest size."""

    sparsity: float = setting(
        text="How many weights a mask keeps: s (I + O) in a layer of I inputs and O outputs, but at most half of "
        "them. This is s, such as 8.",
        rule=positive(),
        column="sparsity",
        label=" {:g}",
    )

    def density(self, inputs: int, outputs: int, kernel: int = 1) -> float:
        """See `erdos_renyi_density`."""
        return erdos_renyi_density(self.sparsity, inputs, outputs, kernel)

    def mask(self, scores: Tensor, density: float) -> Tensor:
        """See `top_k_mask`."""
        return top_k_mask(scores, density)

    def score_gradient(self, mask_gradient: Tensor, scores: Tensor) -> Tensor:
        """Straight through the selection."""
        return top_k_score_gradient(mask_gradient, scores)

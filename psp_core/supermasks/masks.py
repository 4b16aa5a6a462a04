"""Supermasks from scores, and gradients back: which weights of a layer a task uses.

A task's weights are V = W * M. W is frozen; M of zeros and ones follows from trained scores S. The step from S to M
has no useful gradient, so the gradient passes straight through.
"""

import torch
from torch import Tensor

# E members, I inputs, O outputs, N = I * O

MAX_DENSITY = 0.5


def top_k_mask(scores: Tensor, density: float) -> Tensor:
    """Ones at the largest |S| of each layer: of N weights the lowest int((1 - density) N) are left out.

    Of equal |S| the first are left out. The paper's code sorts, and leaves the order of equals open. Selecting the
    boundary instead takes a sixth of the time.

    Args:
        scores: (I, O), or (E, I, O), where each member is a layer of its own.
        density: the share of weights that the mask keeps, in (0, 1].

    Returns:
        Zeros and ones, float, of the scores' shape.

    Raises:
        ValueError: the density is out of its range.

    Source: edge-popup (papers.md, B4).
    """
    if not 0 < density <= 1:
        raise ValueError(f"density={density} must lie in (0, 1]: it is the share of weights that a mask keeps.")
    sizes_EN = scores.abs().flatten(-2)
    left_out = int((1 - density) * sizes_EN.shape[-1])
    if left_out == 0:
        return torch.ones_like(scores)
    highest_E1 = sizes_EN.kthvalue(left_out, dim=-1, keepdim=True).values
    equal_EN = sizes_EN == highest_E1
    equals_left_out_E1 = left_out - (sizes_EN < highest_E1).sum(-1, keepdim=True)
    equals_kept_EN = equal_EN & (equal_EN.cumsum(-1, dtype=torch.int32) > equals_left_out_E1)
    return ((sizes_EN > highest_E1) | equals_kept_EN).to(scores.dtype).view_as(scores)


def threshold_mask(scores: Tensor) -> Tensor:
    """M = 1 where S >= 0, else 0; float, of the scores' shape (any).

    Source: papers.md, B4, where tasks are inferred.
    """
    return (scores >= 0).to(scores.dtype)


def mask_gradient(weight_gradient: Tensor, weights: Tensor) -> Tensor:
    """dL/dM = dL/dV * W, where V = W * M are the weights that the network used."""
    return weight_gradient * weights


def threshold_score_gradient(mask_gradient: Tensor) -> Tensor:
    """dL/dS = dL/dM: straight through the threshold."""
    return mask_gradient


def top_k_score_gradient(mask_gradient: Tensor, scores: Tensor) -> Tensor:
    """dL/dS = dL/dM * sign(S): straight through the selection, then through |S|."""
    return mask_gradient * scores.sign()


def erdos_renyi_density(sparsity: float, c_in: int, c_out: int, kernel: int = 1) -> float:
    """The share of a layer's weights that a top-k mask keeps: min(1/2, s (c_out + c_in) / (c_out c_in kernel)).

    So a layer keeps s (c_out + c_in) weights, and half of them at most.

    Args:
        sparsity: s; larger is denser, despite its name in the paper's code.
        c_in: inputs, or input channels of a convolution.
        c_out: outputs, or output channels.
        kernel: positions of a convolution's kernel, its height times its width.

    Raises:
        ValueError: a number is not positive.

    Source: "er_sparsity" (papers.md, B4).
    """
    for name, value in {"sparsity": sparsity, "c_in": c_in, "c_out": c_out, "kernel": kernel}.items():
        if value <= 0:
            raise ValueError(f"{name}={value} must be positive.")
    return min(MAX_DENSITY, sparsity * (c_out + c_in) / (c_out * c_in * kernel))

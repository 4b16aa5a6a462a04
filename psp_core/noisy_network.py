"""One network with the crosstalk of other stored models on its pre-activations, as Gaussian noise, layer by layer.

Paper A's Propositions 1 and 2 say of another model, stored with this one under contexts of its own, that a layer's
output y = <w, x> gets noise of mean 0 and variance sum_i |v_i|^2 |x_i|^2, or |v|^2 |x|^2 / I where contexts mix all
inputs; v are the other model's weights, w this one's, and x what the layer gets, noise of the layers before it included
(papers.md, A6). The noise of n others is the sum, which is close to Gaussian. What the propositions leave open is taken
to be independent: the noise of different outputs, and of different images, which share the others' weights.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from psp_core.contexts import Context
from psp_core.packed_mlp import Layer

# B batch, I inputs, O outputs; 2 = real and imaginary part; one network: weights (I, O) or (I, 2, O), biases (O,)


def can_predict(context: Context) -> bool:
    """Whether Proposition 2 gives the crosstalk, and a stored model has the size that is retrieved."""
    return context.crosstalk is not None and context.is_orthogonal


def noisy_logits(
    context: Context,
    layers: Sequence[Layer],
    others: Sequence[Tensor] | None,
    num_others: int,
    x_BI: Tensor,
    rng: torch.Generator,
) -> Tensor:
    """A network's logits (B, O), each layer's outputs with the crosstalk of other models.

    Biases are no part of what contexts bind, and have no crosstalk. Of a complex layer's crosstalk each part has half;
    logits are a real part.

    Args:
        context: the kind of contexts under which all are stored, of which `can_predict` holds.
        layers: the network's own weights, as retrieved, and biases.
        others: by layer, weights of the size that one other model has. None for models that respond to each x as this
            one does: by the proposition's second form, |<w, x>| = eta |w| |x| with all terms alike, a variance of
            |y|^2 / I.
        num_others: n; 0 gives the network as it is.
        x_BI: images.
        rng: of the noise.
    """
    z = torch.stack([x_BI, torch.zeros_like(x_BI)], dim=1) if context.is_complex else x_BI
    for index, (weight, bias) in enumerate(layers):
        y = _product(z, weight)
        if num_others:
            of_one = _energy(y, 1) / z.shape[-1] if others is None else variance(context, others[index], z)
            y = y + _noise(num_others * of_one, rng, like=y)
        if context.is_complex:
            y[:, 0] += bias
        else:
            y = y + bias
        z = y.relu() if index < len(layers) - 1 else y
    return z[:, 0] if context.is_complex else z


def variance(context: Context, weight: Tensor, z: Tensor) -> Tensor:
    """Proposition 2: E |eps|^2 of one other model with these weights, on inputs (B, I) or (B, 2, I): shape (B, O)."""
    z_BI, weight_IO = _energy(z, 1), _energy(weight, 1)
    if context.crosstalk == "elementwise":
        return z_BI @ weight_IO
    return z_BI.mean(1, keepdim=True) * weight_IO.sum(0)


def _product(z: Tensor, weight: Tensor) -> Tensor:
    """A layer's outputs without bias: (B, I) to (B, O), or (B, 2, I) to (B, 2, O)."""
    if weight.dim() == 2:
        return z @ weight
    y = torch.complex(*z.unbind(1)) @ torch.complex(*weight.unbind(1))
    return torch.stack([y.real, y.imag], dim=1)


def _energy(x: Tensor, parts: int) -> Tensor:
    """|x|^2 of each number; of complex ones, real and imaginary part are in dimension `parts`."""
    return x.square() if x.dim() == 2 else x.square().sum(parts)


def _noise(variance_BO: Tensor, rng: torch.Generator, like: Tensor) -> Tensor:
    """Gaussian numbers of this variance, real or complex: (B, O) or (B, 2, O)."""
    gaussian = torch.randn(like.shape, generator=rng).to(like.device, like.dtype)
    return gaussian * (variance_BO.sqrt() if like.dim() == 2 else (variance_BO / 2).sqrt()[:, None])

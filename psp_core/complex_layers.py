"""Packed layers with complex numbers, as real products of their parts."""

from functools import cache

import torch
from torch import Tensor

from psp_core.images import Images
from psp_core.kernels import complex_rows
from psp_core.kernels.choice import has_kernels
from psp_core.kernels.complex_relu_bind import relu_bind, unbind_relu
from psp_core.packed_layers import PackedLayers

# E members (or retrieved models), B batch, I inputs, O outputs; 2 = real and imaginary part


class ComplexLayers(PackedLayers):
    """Layers with weights (E, I, 2, O) and inputs and outputs (E, B, 2, ...); the network's own ends are real.

    The first layer's input has no imaginary part: binding its weights instead of its input saves half of the products.
    Of the last layer's output the real part alone is needed.
    """

    def first_inputs(self, x: Tensor | Images, context: Tensor) -> Tensor:
        """The network's inputs (E, B, I) as they are."""
        if isinstance(x, Images):
            made = x.bound_inputs(None, self._operands)
            if made is not None:
                return made
            x = x.inputs()
        return self._as_operand(x)

    def first_weight(self, weight: Tensor, context: Tensor) -> Tensor:
        """The weights of the task."""
        if not self._has_factors:
            return self.context.retrieve(weight, context)
        factors = self._factors(context)
        return weight if factors is None else complex_rows.retrieved(weight, factors)

    def last_weight(self, weight: Tensor) -> Tensor:
        """Where there are kernels the real matrix (E, 2 I, O) that gives the real part, W_re over -W_im."""
        if not has_kernels(weight.device):
            return weight
        num_members, num_inputs, _, num_outputs = weight.shape
        stacked = weight.new_empty(num_members, 2, num_inputs, num_outputs)
        return torch.mul(weight.transpose(1, 2), _signs(weight.device, weight.dtype), out=stacked).flatten(1, 2)

    def product(self, z: Tensor, weight: Tensor) -> Tensor:
        """The products of parts, (E, B, Z, 2, O), where Z are the parts of z."""
        y = self._bmm(z.reshape(len(z), -1, z.shape[-1]), weight.flatten(2))
        return y.view(len(z), z.shape[1], -1, 2, weight.shape[-1])

    def logits(self, z: Tensor, weight: Tensor) -> Tensor:
        """The real part of the last layer's outputs, without biases, (E, O, B)."""
        if z.dim() == 3:  # the network's own inputs
            return self._bmm(weight[:, :, 0].mT, z.mT)
        if weight.dim() == 3:
            return self._bmm(weight.mT, z.flatten(2).mT)
        real, imaginary = (self._bmm(weight[:, :, part].mT, z[:, :, part].mT) for part in (0, 1))
        return real.sub_(imaginary)

    def last_backward(self, into: Tensor, z: Tensor, weight: Tensor, g_EOB: Tensor) -> Tensor:
        """Write the last layer's weight gradient into `into`; return the gradient of its inputs."""
        g = g_EOB.mT
        if weight.dim() == 3:
            stacked = self._bmm(z.flatten(2).mT, g).view(len(z), 2, -1, g.shape[-1])
            torch.mul(stacked, _signs(z.device, z.dtype), out=into.transpose(1, 2))
            return self._bmm(g, weight.mT).view_as(z)
        dz = torch.empty_like(z)
        for part, sign in ((0, 1), (1, -1)):
            into[:, :, part] = self._bmm(z[:, :, part].mT, g).mul_(sign)
            dz[:, :, part] = self._bmm(g, weight[:, :, part].mT).mul_(sign)
        return dz

    def backward(self, into: Tensor, z: Tensor, weight: Tensor, g: Tensor) -> Tensor:
        """Write a layer's weight gradient into `into`; return the gradient of its inputs."""
        self._bmm(z.flatten(1, 2).mT, g, out=into.flatten(2))
        return self._bmm(g, weight.flatten(2).mT).view_as(z)

    def first_gradient(self, into: Tensor, z: Tensor, g: Tensor, context: Tensor) -> None:
        """Write the first layer's weight gradient into `into`; its inputs need no gradient."""
        factors = self._factors(context)
        if self._has_factors and factors is None:
            self._bmm(z.mT, g, out=into.flatten(2))
            return
        of_retrieved = self._bmm(z.mT, g).view_as(into)
        if factors is None:
            into.copy_(self.context.store(of_retrieved, context))
        else:
            complex_rows.store(of_retrieved, factors, into)

    def only_gradient(self, into: Tensor, z: Tensor, g_EOB: Tensor, context: Tensor) -> None:
        """The same of a network's only layer, given the gradient of its real part; the imaginary part's is 0."""
        g = g_EOB.mT
        self.first_gradient(into, z, torch.stack([g, torch.zeros_like(g)], dim=2).flatten(2), context)

    def _relu_bind(self, y: Tensor, bias: Tensor, factors: Tensor | None) -> tuple[Tensor, Tensor]:
        return relu_bind(y, bias, factors)

    def _unbind_relu(
        self, g: Tensor, kept: Tensor, factors: Tensor | None, bias_gradient: Tensor, *, is_first: bool
    ) -> Tensor:
        return unbind_relu(g, kept, factors, bias_gradient, is_real_input=is_first)


@cache
def _signs(device: torch.device, dtype: torch.dtype) -> Tensor:
    """What multiplies the parts of stacked weights; made before a graph is captured, since a step runs before it."""
    return torch.tensor([1, -1], dtype=dtype, device=device)[:, None, None]

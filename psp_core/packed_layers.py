"""Layers of E networks of one shape: the products of a step, and what lies between them."""

import torch
from torch import Tensor

from psp_core.contexts import Context
from psp_core.images import Images
from psp_core.kernels.choice import has_kernels
from psp_core.kernels.relu_bind import relu_bind, unbind_relu

# E members (or retrieved models), B batch, I inputs, O outputs


class PackedLayers:
    """Layers with real numbers: weights (E, I, O), inputs and outputs (E, B, ...).

    Args:
        context: the kind of all contexts.
        dtype: the precision of the operands of matrix products; sums are float32. Where there are kernels, operands
            are written in it; elsewhere they are converted before each product, and the result after it.
    """

    def __init__(self, context: Context, dtype: torch.dtype) -> None:
        """Keep both arguments."""
        self.context = context
        self.dtype = dtype
        self._has_factors = context.binding in ("product", "complex product")
        self._is_trivial = context.is_trivial

    def first_inputs(self, x: Tensor | Images, context: Tensor) -> Tensor:
        """What the first layer's weights are multiplied by: the network's inputs (E, B, I), bound."""
        if isinstance(x, Images):
            made = x.bound_inputs(self._factors(context), self._operands) if self._has_factors else None
            if made is not None:
                return made
            x = x.inputs()
        return self._as_operand(self.context.bind(x, context))

    def first_weight(self, weight: Tensor, context: Tensor) -> Tensor:
        """By what those are multiplied."""
        return weight

    def last_weight(self, weight: Tensor) -> Tensor:
        """By what the last layer's inputs are multiplied."""
        return weight

    def product(self, z: Tensor, weight: Tensor) -> Tensor:
        """A layer's outputs without biases."""
        return self._bmm(z, weight)

    def relu_bind(self, y: Tensor, bias: Tensor, context: Tensor) -> tuple[Tensor, Tensor]:
        """The next layer's inputs, given its context; and what `unbind_relu` needs of them."""
        if self._has_factors:
            return self._relu_bind(y, bias, self._factors(context))
        h, kept = self._relu_bind(y, bias, None)
        return self._as_operand(self.context.bind(h.to(context.dtype), context)), kept

    def relu(self, y: Tensor, bias: Tensor) -> Tensor:
        """A layer's output where the next has no context."""
        return self._relu_bind(y, bias, None)[0]

    def logits(self, z: Tensor, weight: Tensor) -> Tensor:
        """The last layer's outputs without biases, (E, O, B): softmax over few classes is ten times faster so on CPUs.

        On GPUs threads then read along the batch, whatever the number of classes.
        """
        return self._bmm(weight.mT, z.mT)

    def last_backward(self, into: Tensor, z: Tensor, weight: Tensor, g_EOB: Tensor) -> Tensor:
        """Write the last layer's weight gradient into `into`; return the gradient of its inputs."""
        return self.backward(into, z, weight, g_EOB.mT)

    def unbind_relu(self, g: Tensor, kept: Tensor, context: Tensor, bias_gradient: Tensor, *, is_first: bool) -> Tensor:
        """From the gradient of the next layer's inputs to that of a layer's outputs; writes the bias's."""
        if self._has_factors:
            return self._unbind_relu(g, kept, self._factors(context), bias_gradient, is_first=is_first)
        g = self._as_operand(self.context.unbind(g.to(context.dtype), context))
        return self._unbind_relu(g, kept, None, bias_gradient, is_first=is_first)

    def backward(self, into: Tensor, z: Tensor, weight: Tensor, g: Tensor) -> Tensor:
        """Write a layer's weight gradient into `into`; return the gradient of its inputs."""
        self._bmm(z.mT, g, out=into)
        return self._bmm(g, weight.mT)

    def first_gradient(self, into: Tensor, z: Tensor, g: Tensor, context: Tensor) -> None:
        """Write the first layer's weight gradient into `into`; its inputs need no gradient."""
        self._bmm(z.mT, g, out=into)

    def only_gradient(self, into: Tensor, z: Tensor, g_EOB: Tensor, context: Tensor) -> None:
        """The same of a network's only layer, given the logits' gradient."""
        self.first_gradient(into, z, g_EOB.mT, context)

    def _relu_bind(self, y: Tensor, bias: Tensor, factors: Tensor | None) -> tuple[Tensor, Tensor]:
        return relu_bind(y, bias, factors)

    def _unbind_relu(
        self, g: Tensor, kept: Tensor, factors: Tensor | None, bias_gradient: Tensor, *, is_first: bool
    ) -> Tensor:
        return unbind_relu(g, kept, factors, bias_gradient)

    def _factors(self, context: Tensor) -> Tensor | None:
        """The numbers that multiply a layer's inputs; None for ones, and where binding is no such product."""
        return context if self._has_factors and not self._is_trivial else None

    def _bmm(self, a: Tensor, b: Tensor, out: Tensor | None = None) -> Tensor:
        """The product of each member's matrices; rounded as `out` is, else as operands are, sums are float32."""
        if self.dtype == torch.float32:
            return torch.bmm(a, b) if out is None else torch.bmm(a, b, out=out)
        a, b = a.to(self.dtype), b.to(self.dtype)  # which they are already where kernels wrote them
        if out is None:
            product = torch.bmm(a, b)
            return product if has_kernels(product.device) else product.float()
        if out.dtype == self.dtype:
            return torch.bmm(a, b, out=out)
        return torch.bmm(a, b, out_dtype=out.dtype, out=out) if out.is_cuda else out.copy_(torch.bmm(a, b))

    def _as_operand(self, x: Tensor) -> Tensor:
        """In the precision in which kernels leave the operands of products."""
        return x.to(self._operands) if has_kernels(x.device) else x

    @property
    def _operands(self) -> torch.dtype:
        return torch.get_default_dtype() if self.dtype == torch.float32 else self.dtype

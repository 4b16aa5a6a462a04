"""E superposed networks, forward and backward, as batched matrix products written out by hand.

The mathematics of `SuperposedMLP` under autograd, at a fraction of the overhead. Gradients are written straight to
their place, and only needed activations are kept. The first layer of a complex network has a real input: binding its
weights instead of its input saves half of the products. Tests hold this and autograd equal.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from psp_core.contexts import Context

# E members (or retrieved models), B batch, I inputs, O outputs; 2 = real and imaginary part

Layer = tuple[Tensor, Tensor]  # weight (E, I, O), or (E, I, 2, O) where complex, and bias (E, O)


class PackedMLP:
    """Losses and gradients of E networks of one shape, and logits of retrieved networks.

    Args:
        context: the kind of all contexts.
        dtype: the precision of the operands of matrix products; sums are float32.
    """

    def __init__(self, context: Context, dtype: torch.dtype = torch.float32) -> None:
        """Keep both arguments."""
        self.context = context
        self.dtype = dtype

    def loss_and_gradients(
        self, layers: Sequence[Layer], contexts: Sequence[Tensor], gradients: Sequence[Layer], x: Tensor, labels: Tensor
    ) -> Tensor:
        """Each member's mean cross-entropy on its own batch; writes the gradients into `gradients`.

        Args:
            layers: the shared weights and biases.
            contexts: each layer's contexts of the current task, (E, ...).
            gradients: tensors of the layers' shapes, to be overwritten.
            x: inputs (E, B, I), real.
            labels: (E, B), int64.

        Returns:
            The loss in nats, shape (E,).
        """
        *hidden, (weight, bias) = layers
        inputs = []  # the bound inputs of each layer
        outputs = []  # of each hidden layer, after relu
        h = x
        for (w, b), context in zip(hidden, contexts[:-1], strict=True):
            w, z = self._bound(w, h, context)
            h = self._affine(z, w, b).relu_()
            inputs.append(z)
            outputs.append(h)
        last_weight, z = self._bound(weight, h, contexts[-1])
        logits_EOB = self._logits(z, last_weight, bias)
        loss, g_EOB = _cross_entropy(logits_EOB, labels)

        weight_gradient, bias_gradient = gradients[-1]
        torch.sum(g_EOB, 2, out=bias_gradient)
        if not hidden:
            self._first_gradient(weight_gradient, z, self._complex_rows(g_EOB), contexts[0])
            return loss
        g = self._last_backward(weight_gradient, z, weight, g_EOB)
        for index in reversed(range(len(hidden))):
            g = self.context.unbind(g, contexts[index + 1])
            g = torch.ops.aten.threshold_backward(g, outputs[index], 0)  # the gradient is 0 where relu gave 0
            weight_gradient, bias_gradient = gradients[index]
            torch.sum(g[:, :, 0] if self.context.is_complex else g, 1, out=bias_gradient)
            if index:
                g = self._backward(weight_gradient, inputs[index], hidden[index][0], g)
            else:
                self._first_gradient(weight_gradient, inputs[0], g, contexts[0])
        return loss

    def add_fisher(self, layers: Sequence[Layer], contexts: Sequence[Tensor], into: Sequence[Layer], x: Tensor) -> None:
        """Add to `into` what each image tells of the weights: E_y (d log p(y|x) / dw)^2, y as the network would answer.

        An image's gradient of a linear layer is z g^T, with z the layer's input and g the gradient of its output, so a
        sum of its squares over images is one product, (z^2)^T (g^2). There is a backward pass for each answer y, whose
        g are scaled by sqrt(p(y|x)).

        Args:
            layers: weights and biases (E, I, O) and (E, O); contexts must be real.
            contexts: each layer's contexts of the current task, (E, ...).
            into: tensors of the layers' shapes.
            x: inputs (E, B, I).
        """
        assert not self.context.is_complex, "a complex gradient's square is no product of squares"
        outputs, squares = [x], []  # of each layer before, after relu; and of each layer's bound inputs
        for (weight, bias), context in zip(layers, contexts, strict=True):
            z = self.context.bind(outputs[-1], context)
            squares.append(z.square().mT)
            outputs.append(torch.baddbmm(bias[:, None], z, weight).relu())
        p_EBO = torch.baddbmm(layers[-1][1][:, None], z, layers[-1][0]).softmax(-1)
        for answer in range(p_EBO.shape[-1]):
            g = p_EBO.neg()
            g[..., answer] += 1
            g *= p_EBO[..., answer, None].sqrt()
            for index in reversed(range(len(layers))):
                of_weight, of_bias = into[index]
                of_weight.baddbmm_(squares[index], g.square())
                of_bias.add_(g.square().sum(1))
                if index:
                    g = self.context.unbind(torch.bmm(g, layers[index][0].mT), contexts[index])
                    g = torch.ops.aten.threshold_backward(g, outputs[index], 0)

    def logits(self, layers: Sequence[Layer], x: Tensor) -> Tensor:
        """Logits of retrieved networks: each has the weights of one task.

        Args:
            layers: weights and biases of M networks.
            x: inputs (M, B, I), real.

        Returns:
            Shape (M, O, B).
        """
        *hidden, (weight, bias) = layers
        for w, b in hidden:
            x = self._affine(x, w, b).relu_()
        return self._logits(x, weight, bias)

    # A complex layer's input has a dimension 2 before the last. A first layer's input is real and has none.

    def _bound(self, weight: Tensor, h: Tensor, context: Tensor) -> tuple[Tensor, Tensor]:
        """The weight and the input of a layer's product, of which the cheaper one is bound."""
        if self.context.is_complex and h.dim() == 3:
            return self.context.retrieve(weight, context), h
        return weight, self.context.bind(h, context)

    def _affine(self, z: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        if not self.context.is_complex:
            return self._bmm(z, weight).add_(bias[:, None])
        y = self._bmm(z.reshape(len(z), -1, z.shape[-1]), weight.flatten(2))
        if z.dim() == 3:
            y = y.view(*z.shape[:2], 2, -1)
            y[:, :, 0].add_(bias[:, None])
            return y
        parts = y.view(*z.shape[:2], 2, 2, -1)  # part of z, part of the weight
        y = torch.empty_like(parts[:, :, 0])
        torch.sub(parts[:, :, 0, 0], parts[:, :, 1, 1], out=y[:, :, 0]).add_(bias[:, None])
        torch.add(parts[:, :, 0, 1], parts[:, :, 1, 0], out=y[:, :, 1])
        return y

    def _logits(self, z: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        """The real part, (E, O, B): softmax over few classes is ten times faster in this order on CPUs."""
        if not self.context.is_complex:
            return self._bmm(weight.mT, z.mT).add_(bias[:, :, None])
        if z.dim() == 3:
            return self._bmm(weight[:, :, 0].mT, z.mT).add_(bias[:, :, None])
        real, imaginary = (self._bmm(weight[:, :, part].mT, z[:, :, part].mT) for part in (0, 1))
        return real.sub_(imaginary).add_(bias[:, :, None])

    def _last_backward(self, into: Tensor, z: Tensor, weight: Tensor, g_EOB: Tensor) -> Tensor:
        """Write the last layer's weight gradient into `into`; return the gradient of its inputs."""
        g = g_EOB.mT
        if not self.context.is_complex:
            return self._backward(into, z, weight, g)
        dz = torch.empty_like(z)
        for part, sign in ((0, 1), (1, -1)):
            into[:, :, part] = self._bmm(z[:, :, part].mT, g).mul_(sign)
            dz[:, :, part] = self._bmm(g, weight[:, :, part].mT).mul_(sign)
        return dz

    def _backward(self, into: Tensor, z: Tensor, weight: Tensor, g: Tensor) -> Tensor:
        """Write a hidden layer's weight gradient into `into`; return the gradient of its inputs."""
        if not self.context.is_complex:
            self._bmm(z.mT, g, out=into)
            return self._bmm(g, weight.mT)
        rows = torch.empty(
            *g.shape[:2], 2, *g.shape[2:], device=g.device
        )  # g, and i conj(g), by which the imaginary z is multiplied
        rows[:, :, 0] = g
        rows[:, :, 1, 0] = g[:, :, 1]
        torch.neg(g[:, :, 0], out=rows[:, :, 1, 1])
        rows = rows.view(len(g), -1, 2 * g.shape[-1])
        self._bmm(z.flatten(1, 2).mT, rows, out=into.flatten(2))
        return self._bmm(rows, weight.flatten(2).mT).view_as(z)

    def _first_gradient(self, into: Tensor, z: Tensor, g: Tensor, context: Tensor) -> None:
        """Write the first layer's weight gradient into `into`; its inputs need no gradient."""
        if not self.context.is_complex:
            self._bmm(z.mT, g, out=into)
            return
        of_retrieved = self._bmm(z.mT, g.flatten(2)).view_as(into)
        into.copy_(self.context.store(of_retrieved, context))

    def _complex_rows(self, g_EOB: Tensor) -> Tensor:
        """The logits' gradient as the output gradient of a first layer; of a complex layer with imaginary part 0."""
        g = g_EOB.mT
        return torch.stack([g, torch.zeros_like(g)], dim=2) if self.context.is_complex else g

    def _bmm(self, a: Tensor, b: Tensor, out: Tensor | None = None) -> Tensor:
        if self.dtype == torch.float32:
            return torch.bmm(a, b) if out is None else torch.bmm(a, b, out=out)
        product = torch.bmm(a.to(self.dtype), b.to(self.dtype))
        return product.float() if out is None else out.copy_(product)


def _cross_entropy(logits_EOB: Tensor, labels_EB: Tensor) -> tuple[Tensor, Tensor]:
    """Mean cross-entropy (E,) and its gradient with respect to the logits (E, O, B)."""
    labels_E1B = labels_EB[:, None]
    log_probabilities = torch.log_softmax(logits_EOB, 1)
    loss_E = log_probabilities.gather(1, labels_E1B).mean(dim=(1, 2)).neg_()
    gradient = log_probabilities.exp_()
    minus_one = torch.full((1, 1, 1), -1.0, device=logits_EOB.device).expand(labels_E1B.shape)
    gradient.scatter_add_(1, labels_E1B, minus_one)
    return loss_E, gradient.mul_(1 / labels_EB.shape[1])

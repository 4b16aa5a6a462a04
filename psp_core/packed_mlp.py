"""E superposed networks, forward and backward, as batched matrix products written out by hand.

The mathematics of `SuperposedMLP` under autograd, at a fraction of the overhead. Gradients are written straight to
their place, and only needed activations are kept. Tests hold this and autograd equal.
"""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from psp_core.complex_layers import ComplexLayers
from psp_core.contexts import Context
from psp_core.images import Images
from psp_core.importance import Importance
from psp_core.kernels.softmax_loss import softmax_loss
from psp_core.packed_layers import PackedLayers

# E members (or retrieved models), B batch, I inputs, O outputs; 2 = real and imaginary part

Loss = Callable[[Tensor, Tensor, Tensor, Tensor], tuple[Tensor, Tensor]]
Layer = tuple[Tensor, Tensor]  # weight (E, I, O), or (E, I, 2, O) where complex, and bias (E, O)


class PackedMLP:
    """Losses and gradients of E networks of one shape, and logits of retrieved networks.

    Args:
        context: the kind of all contexts.
        dtype: the precision of the operands of matrix products; sums are float32.
    """

    def __init__(self, context: Context, dtype: torch.dtype = torch.float32) -> None:
        """Choose real or complex layers."""
        self.context = context
        self._of = ComplexLayers(context, dtype) if context.is_complex else PackedLayers(context, dtype)

    def loss_and_gradients(
        self,
        layers: Sequence[Layer],
        contexts: Sequence[Tensor],
        gradients: Sequence[Layer],
        x: Tensor | Images,
        labels: Tensor,
        loss_of: Loss = softmax_loss,
    ) -> Tensor:
        """Each member's mean cross-entropy on its own batch; writes the gradients into `gradients`.

        Args:
            layers: the shared weights and biases.
            contexts: each layer's contexts of the current task, (E, ...).
            gradients: tensors of the layers' shapes, to be overwritten.
            x: inputs (E, B, I), real; or of what they are made.
            labels: (E, B), int64; or what else the loss takes.
            loss_of: in place of the cross-entropy, with its arguments and results.

        Returns:
            The loss in nats, shape (E,).
        """
        of, last = self._of, len(layers) - 1
        logits_EOB, weight, inputs, kept = self._forward(layers, contexts, x)
        z, (_, bias), (weight_gradient, bias_gradient) = inputs[-1], layers[-1], gradients[-1]
        loss, g_EOB = loss_of(logits_EOB, bias, labels, bias_gradient)
        if not last:
            of.only_gradient(weight_gradient, z, g_EOB, contexts[0])
            return loss
        g = of.last_backward(weight_gradient, z, weight, g_EOB)
        for index in reversed(range(last)):
            weight_gradient, bias_gradient = gradients[index]
            g = of.unbind_relu(g, kept[index], contexts[index + 1], bias_gradient, is_first=not index)
            if index:
                g = of.backward(weight_gradient, inputs[index], layers[index][0], g)
            else:
                of.first_gradient(weight_gradient, inputs[0], g, contexts[0])
        return loss

    def outputs(self, layers: Sequence[Layer], contexts: Sequence[Tensor], x: Tensor) -> Tensor:
        """Logits (E, B, O) of inputs (E, B, I), as `loss_and_gradients` finds them on its way."""
        logits_EOB, bias_EO = self._forward(layers, contexts, x)[0], layers[-1][1]
        return logits_EOB.to(bias_EO.dtype).add_(bias_EO[:, :, None]).mT

    def _forward(
        self, layers: Sequence[Layer], contexts: Sequence[Tensor], x: Tensor | Images
    ) -> tuple[Tensor, Tensor, list[Tensor], list[Tensor]]:
        """Logits without biases (E, O, B), and what the way back needs.

        That is the last layer's weight as it was multiplied by, each layer's inputs, and what each hidden layer keeps.
        """
        of, hidden = self._of, layers[:-1]
        z = of.first_inputs(x, contexts[0])
        inputs, kept = [z], list[Tensor]()
        for index, (weight, bias) in enumerate(hidden):
            y = of.product(z, weight if index else of.first_weight(weight, contexts[0]))
            z, of_relu = of.relu_bind(y, bias, contexts[index + 1])
            inputs.append(z)
            kept.append(of_relu)
        weight = of.last_weight(layers[-1][0]) if hidden else of.first_weight(layers[-1][0], contexts[0])
        return of.logits(z, weight), weight, inputs, kept

    def add_importance(
        self,
        layers: Sequence[Layer],
        contexts: Sequence[Tensor],
        into: Sequence[Layer],
        x: Tensor,
        kind: Importance,
    ) -> None:
        """Add to `into` what each image tells of the weights.

        An image's gradient of a linear layer is z g^T, with z the layer's input and g the gradient of its output, so a
        sum of its sizes over images is one product, size(z)^T size(g): of its squares, (z^2)^T (g^2). There is a
        backward pass for each function of the outputs.

        Args:
            layers: weights and biases (E, I, O) and (E, O); contexts must be real.
            contexts: each layer's contexts of the current task, (E, ...).
            into: tensors of the layers' shapes.
            x: inputs (E, B, I).
            kind: of which functions of the outputs, and which size.
        """
        assert not self.context.is_complex, "the size of a complex layer's gradient is no product of sizes"
        outputs, sizes = [x], []  # of each layer before, after relu; and of each layer's bound inputs
        for (weight, bias), context in zip(layers, contexts, strict=True):
            z = self.context.bind(outputs[-1], context)
            sizes.append(kind.size(z).mT)
            y = torch.baddbmm(bias[:, None], z, weight)
            outputs.append(y.relu())
        for g in kind.output_gradients(y):
            for index in reversed(range(len(layers))):
                of_weight, of_bias = into[index]
                of_weight.baddbmm_(sizes[index], kind.size(g))
                of_bias.add_(kind.size(g).sum(1))
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
            x = self._of.relu(self._of.product(x, w), b)
        weight = self._of.last_weight(weight) if hidden else weight
        return self._of.logits(x, weight).to(bias.dtype).add_(bias[:, :, None])

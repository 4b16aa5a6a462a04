"""What superposed networks cost: their layers, and the contexts that bind them."""

from dataclasses import dataclass
from functools import cached_property
from math import prod

from psp_core.cost import Cost, num_activations, num_state, num_weights, products
from psp_core.course import Course
from psp_core.methods.superposed_settings import SuperposedSettings
from psp_core.models import LayerSize, Model


@dataclass(frozen=True)
class SuperposedCost:
    """What a trial's networks cost, counted of their layers."""

    part: SuperposedSettings
    trial: Course

    @property
    def cost(self) -> Cost:
        """All of it."""
        retrieved = sum(self._real_products)
        retrieving_products, retrieving_numbers = self._retrieving
        return Cost(
            num_params=self._trunk_size if self.part.counts_trunk else 0,
            trunk_size=self._trunk_size,
            num_activations=num_activations(self.trial, self._layers, self._parts),
            step_products=self._step_products,
            retrieved_products=retrieved,
            measuring_products=retrieved,
            bound_weights=self._bound_weights,
            drawing_products=self._drawing_products,
            retrieving_products=retrieving_products,
            retrieving_numbers=retrieving_numbers,
            own_bytes=self._own_bytes,
        )

    @cached_property
    def _layers(self) -> list[LayerSize]:
        return self.part.layers(self.trial)

    @property
    def _parts(self) -> int:
        return 2 if self.part.context.is_complex else 1

    @property
    def _has_heads(self) -> bool:
        return self.part.heads == "per-task"

    @property
    def _bound(self) -> list[LayerSize]:
        return [layer for layer in self._layers if layer.has_context]

    @property
    def _shared_layers(self) -> list[LayerSize]:
        return self._layers[:-1] if self._has_heads else self._layers

    @property
    def _normed_channels(self) -> int:
        return sum(layer.outputs for layer in self._layers[:-1])

    @property
    def _trunk_size(self) -> int:
        of_norms = 2 * self._normed_channels if self.trial.of(Model).normalises == "affine" else 0
        return sum(num_weights(layer, self._parts) for layer in self._shared_layers) + of_norms

    @property
    def _real_products(self) -> list[int]:
        """Each layer's multiplications; a complex layer has four real products, two if an end of it is real."""
        real = products(self._layers)
        if not self.part.context.is_complex:
            return real
        ends = (0, len(real) - 1)
        return [(2 if index in ends else 4) * product for index, product in enumerate(real)]

    @property
    def _step_products(self) -> int:
        """A convolution's context meets its weights, once for a batch: a sample has its share of that."""
        weights = sum(self._passes(index) * product for index, product in enumerate(self._real_products))
        bound = [
            (2 if index else 1) * self._binding_products(layer)
            for index, layer in enumerate(self._layers)
            if layer.has_context and layer.positions == 1
        ]
        kernels = [
            2 * self._binding_products(layer) * layer.outputs // self.trial.batch_size
            for layer in self._bound
            if layer.positions > 1
        ]
        own = weights + sum(bound) + sum(kernels)
        return own + self.part.protect.step_products(self.trial, sum(self._real_products), own)

    def _passes(self, index: int) -> int:
        """How often a step multiplies by a layer's weights or for them: forwards, to its inputs, to its weights."""
        is_last = index == len(self._layers) - 1
        is_frozen = self.part.freezes_trunk(self.trial.num_tasks - 1)
        to_inputs = self.part.learned_contexts if is_frozen else index > 0
        to_weights = not is_frozen or (is_last and self._has_heads)
        return 1 + to_inputs + to_weights

    def _binding_products(self, layer: LayerSize) -> int:
        """Multiplications that bind all inputs of one of its filters; contexts of channels bind each place alone."""
        size = self.part.context_size(layer)
        return self.part.context.num_products(size) * (layer.inputs // size)

    @property
    def _bound_weights(self) -> int:
        """Weights that meet a context once a step: of a first layer that is complex, and of convolutions."""
        first = self._parts * self._layers[0].inputs * self._layers[0].outputs if self.part.context.is_complex else 0
        kernels = sum(self._parts * layer.inputs * layer.outputs for layer in self._bound if layer.positions > 1)
        return first + kernels

    @property
    def _drawing_products(self) -> int:
        context, number = self.part.context, self.part.num_contexts(self.trial)
        return sum(context.drawing_products(number, self.part.context_size(layer)) for layer in self._bound)

    @property
    def _retrieving(self) -> tuple[int, int]:
        """Networks with convolutions are not retrieved, but bound as they run."""
        if any(layer.positions > 1 for layer in self._layers):
            return 0, 0
        of_products = sum(self.part.context.num_products(layer.inputs) * layer.outputs for layer in self._bound)
        return of_products, sum(prod(self.part.context.shape(layer.inputs)) for layer in self._bound)

    @property
    def _own_bytes(self) -> int:
        """Weights, shared and retrieved; gradients; the optimiser's state; contexts."""
        contexts = sum(
            prod(self.part.context.shape(self.part.context_size(layer))) + layer.outputs * self.part.output_contexts
            for layer in self._shared_layers
            if layer.has_context
        )
        heads = num_weights(self._layers[-1], self._parts) if self._has_heads else 0
        rows, trunk, state = self.part.num_rows(self.trial), self._trunk_size, num_state(self.trial)
        floats = trunk * (3 + state) + contexts * (rows + 1) + heads * (rows + 1)
        if self.trial.of(Model).by_task:  # a mean and a variance of each channel
            floats += 2 * self._normed_channels * (rows + 1)
        learned = heads + (contexts if self.part.learned_contexts else 0)
        if self.part.trains_all_contexts:
            floats += contexts * rows * (3 + state) + trunk
        elif learned:  # their gradients, twice on the way, and state; the weights' gradients on the way
            kept = rows if self.trial.num_cycles > 1 else 0  # the state of what comes back
            floats += learned * (2 + state * (1 + kept)) + trunk
        # Peak memory, when the backward pass begins: four copies of each activation (input or output, its bound form,
        # two gradients in flight).
        floats += 4 * self.trial.batch_size * num_activations(self.trial, self._layers, self._parts)
        if self.part.context.is_complex:  # the first layer is bound, and its gradient unbound
            floats += 3 * 2 * self._layers[0].inputs * self._layers[0].outputs
        return 4 * floats + self.part.protect.training_bytes(self.trial, trunk)

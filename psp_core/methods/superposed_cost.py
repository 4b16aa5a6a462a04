"""What superposed networks cost: their layers, and the contexts that bind them."""

from dataclasses import dataclass
from functools import cached_property
from math import prod

from psp_core.cost import Cost, num_activations, num_state, num_task_images, num_weights, products
from psp_core.course import Course
from psp_core.datasets import Data
from psp_core.growth import Growth
from psp_core.inference import QUESTION
from psp_core.kept import Kept
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
        retrieved, protect = sum(self._real_products), self.part.protect
        retrieving_products, retrieving_numbers = self._retrieving
        return Cost(
            num_params=self._trunk_size if self.part.counts_trunk else 0,
            trunk_size=self._trunk_size,
            num_activations=num_activations(self.trial, self._layers, self._parts),
            step_products=self._own_step_products
            + protect.step_products(self.trial, sum(self._real_products), self._own_step_products),
            retrieved_products=retrieved,
            measuring_products=self._measuring_products,
            answering_products=self._answering_products,
            finding_products=self._finding_products,
            ending_products=protect.ending_products(
                self.trial, self._answering_products, self._own_step_products, self._layers[-1].outputs
            ),
            bound_weights=self._bound_weights,
            drawing_products=self._drawing_products,
            retrieving_products=retrieving_products,
            retrieving_numbers=retrieving_numbers,
            own_bytes=self._own_bytes,
            trained=self._trained,
            kept=self._kept,
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
    def _own_step_products(self) -> int:
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
        return weights + sum(bound) + sum(kernels)

    @property
    def _answering_products(self) -> int:
        """The network's, and those that bind: one image's inputs, or the kernels that it meets."""
        bound = [
            self._binding_products(layer) * (1 if layer.positions == 1 else layer.outputs) for layer in self._bound
        ]
        return sum(self._real_products) + sum(bound)

    @property
    def _finding_products(self) -> int:
        """Contexts are mixed, and a gradient goes to every layer's mix, forwards and backwards through all of them."""
        search, images = self.part.inference.search(self.trial.num_tasks), self.part.inference.asked_images
        asked = [self._context_numbers(layer) for layer in self._bound]
        of_task = sum(asked) + sum(asked[:1] if self.part.inference.first_layer_only else asked)
        of_gradients = sum(2 * images * self._answering_products + of_task * number for number in search.gradients)
        return of_gradients + search.networks * images * self._answering_products

    @property
    def _measuring_products(self) -> int:
        """Retrieved networks answer; where the task is inferred, once more, for what was found of a batch."""
        retrieved = sum(self._real_products)
        return retrieved if self.part.inference.is_given else 2 * retrieved + self._finding_products // QUESTION

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

    def _context_numbers(self, layer: LayerSize) -> int:
        """Numbers of one context of a layer, in memory and as they are trained."""
        of_inputs = prod(self.part.context.shape(self.part.context_size(layer)))
        return of_inputs + layer.outputs * self.part.output_contexts

    @property
    def _head_numbers(self) -> int:
        return num_weights(self._layers[-1], self._parts) if self._has_heads else 0

    @property
    def _statistics(self) -> int:
        """A mean and a variance of each channel, where norms have those of tasks."""
        return 2 * self._normed_channels if self.trial.of(Model).by_task else 0

    @property
    def _contexts(self) -> Growth:
        """How many contexts of a layer there are: each task's own, or those that a schedule makes all others of."""
        shared = self.part.schedule.num_shared
        return Growth(once=shared) if shared else Growth(per_task=self.part.contexts_per_task)

    @property
    def _trained(self) -> Growth:
        trunk = self._trunk_size
        own = Growth(once=trunk if self.part.counts_trunk else 0, per_task=self._head_numbers)
        if self.part.measures_once:
            own = own.plus(Growth(per_task=trunk))
        numbers = sum(map(self._context_numbers, self._bound)) if self.part.learned_contexts else 0
        return own.plus(self._contexts.times(numbers))

    @property
    def _kept(self) -> Kept:
        """Fixed contexts as drawn, trained ones by their numbers; a frozen trunk is a seed."""
        trunk, context, is_learned = 4 * self._trunk_size, self.part.context, self.part.learned_contexts
        protect = self.part.protect
        sizes = [self.part.context_size(layer) for layer in self._bound]
        signs = sum(-(-layer.outputs // 8) for layer in self._bound) if self.part.output_contexts else 0
        drawn = sum(map(context.bytes_per_task, sizes)) + signs
        trained = 4 * sum(map(self._context_numbers, self._bound))
        contexts = self._contexts.times(trained if is_learned else drawn)
        weights = Growth(trunk if self.part.counts_trunk else 0, trunk if self.part.measures_once else 0)
        return {
            "weights": weights,
            "images": Growth(per_task=self._images_of_a_task if self.part.joint else 0),
            "contexts": contexts.plus(Growth(once=sum(map(context.bytes_once, sizes)))),
            "heads": Growth(per_task=4 * self._head_numbers),
            "statistics": Growth(per_task=4 * self._statistics),
            protect.kept_as: protect.kept_bytes(self.trial, self._trunk_size),
        }

    @property
    def _images_of_a_task(self) -> int:
        """Bytes of all its training images with labels: joint training begins anew with those of every task."""
        data = self.trial.of(Data).sizes
        return num_task_images(self.trial) * (data.num_inputs + (1 if data.num_classes <= 256 else 2))

    @property
    def _own_bytes(self) -> int:
        """Weights, shared and retrieved; gradients; the optimiser's state; contexts."""
        contexts = sum(self._context_numbers(layer) for layer in self._layers if layer.has_context)
        heads = self._head_numbers
        rows, trunk, state = self.part.num_rows(self.trial), self._trunk_size, num_state(self.trial)
        first = self.part.trunk == "independent"  # the first weights are kept
        floats = trunk * (3 + first + state) + contexts * (rows + 1) + heads * (rows + 1)
        floats += self._statistics * (rows + 1)
        learned = heads + (contexts if self.part.learned_contexts else 0)
        if self.part.joint and self.part.has_own:  # each image's contexts and head, and their gradients on the way
            floats += contexts * rows + learned * rows * (2 + state)
            floats += 2 * self.trial.batch_size * (contexts + heads) + trunk
        elif self.part.trains_all_contexts:
            floats += contexts * rows * (3 + state) + trunk
        elif learned:  # their gradients, twice on the way, and state; the weights' gradients on the way
            kept = rows if self.trial.num_cycles > 1 else 0  # the state of what comes back
            floats += learned * (2 + state * (1 + kept)) + trunk
        # Peak memory, when the backward pass begins: four copies of each activation (input or output, its bound form,
        # two gradients in flight).
        floats += 4 * self.trial.batch_size * num_activations(self.trial, self._layers, self._parts)
        if self.part.joint:  # each image's task, of all steps; and what the task is: an index for each number, at most
            floats += 2 * self.trial.batch_size * (self.trial.steps_per_task + self._layers[0].inputs)
        if self.part.context.is_complex:  # the first layer is bound, and its gradient unbound
            floats += 3 * 2 * self._layers[0].inputs * self._layers[0].outputs
        return 4 * floats + self.part.protect.training_bytes(self.trial, trunk)

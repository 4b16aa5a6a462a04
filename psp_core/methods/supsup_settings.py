"""What can be chosen of supermasks, and what cannot be chosen together."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, ClassVar

from psp_core.cost import Cost, num_activations, num_state, num_weights, products, step_products
from psp_core.course import Course
from psp_core.growth import Growth
from psp_core.inference import QUESTION, Search
from psp_core.kept import Kept
from psp_core.methods.shared_settings import InferringMethod
from psp_core.models import Heads, LayerSize, Model
from psp_core.outcome import Outcome
from psp_core.parts import setting
from psp_core.supermasks.bits import bit_bytes
from psp_core.supermasks.choices import Masks
from psp_core.supermasks.weights import FrozenWeights


class SupermaskSettings(InferringMethod):
    """The settings of networks with frozen weights and a mask for each task, their rules and their cost."""

    implies: ClassVar[Mapping[str, Any]] = {"context": "none"}
    outcomes: ClassVar[Mapping[str, Outcome]] = {
        "csc_bytes_per_task": Outcome(float, "Bytes of a mask as paper B counts them: 16-bit sparse columns."),
    }

    frozen_weights: FrozenWeights = setting(
        "signed-constant", "What masks choose from: weights that never change.", label=", {}"
    )
    masks: Masks = setting(
        "threshold",
        "Which weights a mask keeps: by a `threshold` of 0 on their scores, or the `top-k` of each layer by size of "
        "score.",
        label=", {}",
    )

    @property
    def transfer(self) -> str:
        """What a task's scores begin with: `random` numbers, or those of the tasks before."""
        return "random"

    @property
    def heads(self) -> Heads:
        """Output layers: `shared` by all tasks, or `per-task`."""
        return "shared"

    @property
    def scores_kept(self) -> Growth:
        """How many masks' scores are kept beside the current one's."""
        return Growth(once=int(self.transfer != "random"))

    def num_masks(self, trial: Course) -> int:
        """Masks that a network has room for."""
        return trial.num_tasks

    def pieces(self) -> dict[str, str]:
        """The method first."""
        return {"method": self.stored_name} | super().pieces()

    def layers(self, trial: Course) -> list[LayerSize]:
        """Heads for each task have no mask, as they have no context."""
        *others, last = super().layers(trial)
        return [*others, replace(last, has_context=self.heads == "shared")]

    def cost(self, trial: Course) -> Cost:
        """Frozen weights and a mask; gradients go to inputs and to the masks' scores."""
        layers = self.layers(trial)
        network = sum(products(layers))
        finding = self._finding_products(trial)
        return Cost(
            num_params=0,  # frozen weights are a seed
            trunk_size=sum(map(num_weights, self._masked(layers))),
            num_activations=num_activations(trial, layers),
            step_products=step_products(layers),
            retrieved_products=network,
            measuring_products=network if self.inference.is_given else 2 * network + finding // QUESTION,
            answering_products=network,
            finding_products=finding,
            own_bytes=self._own_bytes(trial, layers),
            trained=Growth(per_task=self._num_scores(layers) + self._head_numbers(layers)),
            kept=self._kept(trial, layers),
        )

    def search(self, trial: Course) -> Search:
        """What finding a mask takes: of those of all tasks."""
        return self.inference.search(trial.num_tasks)

    def _finding_products(self, trial: Course) -> int:
        """Masks are mixed, but for the mean of all, which is kept; a gradient goes to the weights, and to each mask."""
        layers, search, images = self.layers(trial), self.search(trial), self.inference.asked_images
        of_mask = self._num_scores(layers)
        of_gradients = sum(images * step_products(layers) + number * of_mask for number in search.gradients)
        return of_gradients + sum(search.mixes) * of_mask + search.networks * images * sum(products(layers))

    def _masked(self, layers: list[LayerSize]) -> list[LayerSize]:
        return layers[:-1] if self.heads == "per-task" else layers

    def _num_scores(self, layers: list[LayerSize]) -> int:
        """Of one task."""
        return sum(layer.inputs * layer.outputs for layer in self._masked(layers))

    def _head_numbers(self, layers: list[LayerSize]) -> int:
        return num_weights(layers[-1]) if self.heads == "per-task" else 0

    def _kept(self, trial: Course, layers: list[LayerSize]) -> Kept:
        """Masks as bits; scores where later tasks begin with them, those of a head beside them."""
        channels = sum(layer.outputs for layer in layers[:-1]) if trial.of(Model).by_task else 0
        head = self._head_numbers(layers)
        return {
            "masks": Growth(per_task=sum(bit_bytes(layer.inputs * layer.outputs) for layer in self._masked(layers))),
            "heads": Growth(per_task=4 * head),
            "statistics": Growth(per_task=4 * 2 * channels),
            "scores": self.scores_kept.times(4 * (self._num_scores(layers) + head)),
        }

    def _own_bytes(self, trial: Course, layers: list[LayerSize]) -> int:
        """Weights: frozen, masked, retrieved; scores; gradients of both; state; masks as bits, scores kept; heads."""
        weights, state = self._num_scores(layers), num_state(trial)
        floats = weights * (6 + state + self.scores_kept.after(trial.num_tasks))
        floats += 4 * trial.batch_size * num_activations(trial, layers)
        if self.heads == "per-task":  # of all tasks; and of the current one with its gradients, twice, and state
            floats += num_weights(layers[-1]) * (trial.num_tasks + 4 + state)
        return 4 * floats + trial.num_tasks * weights // 8

    def check(self, trial: Course) -> None:
        """Refuse what no network of frozen weights can do."""
        if trial.precision != "tf32":
            raise ValueError(
                f"precision={trial.precision!r}: method={self.name!r} has 'tf32' alone so far; leave it out."
            )
        if trial.of(Model).normalises == "affine":
            raise ValueError(
                f"norm='affine' does not apply to method={self.name!r}, which trains no scales and shifts; use norm "
                "'per-task'."
            )
        if self.inference.first_layer_only:
            raise ValueError(
                f"inference_layers='first' is for gradients with respect to contexts, not for method={self.name!r}; "
                "leave it out."
            )
        super().check(trial)

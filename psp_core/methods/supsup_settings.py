"""What can be chosen of supermasks, and what cannot be chosen together."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, ClassVar

from psp_core.cost import Cost, num_activations, num_state, num_weights, products
from psp_core.course import Course
from psp_core.methods.shared_settings import InferringMethod
from psp_core.models import Heads, LayerSize, Model
from psp_core.outcome import Outcome
from psp_core.parts import setting
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

    def num_scores_kept(self, trial: Course) -> int:
        """How many masks' scores are kept beside the current one's."""
        return int(self.transfer != "random")

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
        multiplied = products(layers)
        shared = layers[:-1] if self.heads == "per-task" else layers
        return Cost(
            num_params=0,  # frozen weights are a seed
            trunk_size=sum(map(num_weights, shared)),
            num_activations=num_activations(trial, layers),
            step_products=sum((2 + (index > 0)) * product for index, product in enumerate(multiplied)),
            retrieved_products=sum(multiplied),
            measuring_products=sum(multiplied),
            own_bytes=self._own_bytes(trial, layers),
        )

    def _own_bytes(self, trial: Course, layers: list[LayerSize]) -> int:
        """Weights: frozen, masked, retrieved; scores; gradients of both; state; masks as bits, scores kept; heads."""
        shared = layers[:-1] if self.heads == "per-task" else layers
        weights, state = sum(layer.inputs * layer.outputs for layer in shared), num_state(trial)
        floats = weights * (6 + state + self.num_scores_kept(trial))
        floats += 4 * trial.batch_size * num_activations(trial, layers)
        if self.heads == "per-task":  # of all tasks; and of the current one with its gradients, twice, and state
            floats += num_weights(layers[-1]) * (trial.num_tasks + 4 + state)
        return 4 * floats + trial.num_tasks * weights // 8

    def check(self, trial: Course) -> None:
        """Refuse what no network of frozen weights can do."""
        if trial.precision != "tf32":
            raise ValueError(f"precision={trial.precision!r}: method='supsup' has 'tf32' alone so far; leave it out.")
        if trial.of(Model).normalises == "affine":
            raise ValueError(
                "norm='affine' does not apply to method='supsup', where nothing trains what all tasks share, scales "
                "and shifts neither; use norm 'per-task'."
            )
        if self.inference.first_layer_only:
            raise ValueError(
                "inference_layers='first' is for gradients with respect to contexts, not for method='supsup'; leave it "
                "out."
            )
        super().check(trial)

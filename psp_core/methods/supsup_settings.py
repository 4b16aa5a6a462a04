"""What can be chosen of supermasks, and what cannot be chosen together."""

from abc import abstractmethod
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, ClassVar, Literal

from psp_core.cost import Cost, num_activations, num_state, num_weights, products
from psp_core.course import Course
from psp_core.inference import Inference, Inferred
from psp_core.methods.base import Method
from psp_core.methods.shared_settings import (
    INFERRED,
    check_inference,
    heads_setting,
    inference_setting,
    superfluous_setting,
)
from psp_core.models import Heads, LayerSize, Model
from psp_core.outcome import Outcome
from psp_core.parts import setting
from psp_core.supermasks.choices import Masks
from psp_core.supermasks.weights import FrozenWeights


class SupermaskSettings(Method):
    """The settings of networks with frozen weights and a mask for each task, their rules and their cost."""

    implies: ClassVar[Mapping[str, Any]] = {"context": "none"}
    answers: ClassVar[Mapping[str, Outcome]] = INFERRED
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
    def measured(self) -> tuple[str, ...]:
        """`inferred`, where the task is."""
        return () if self.asked.is_given else tuple(self.answers)

    @property
    @abstractmethod
    def asked(self) -> Inference:
        """Who says which task a test batch is of."""

    @property
    def begins_with(self) -> str:
        """What a task's scores begin with: `random` numbers, or those of the tasks before."""
        return "random"

    @property
    def has_heads(self) -> bool:
        """Whether each task has an output layer of its own."""
        return False

    @property
    @abstractmethod
    def keeps_scores_of(self) -> str:
        """Of which masks scores are kept: `none`, `one` mix of all, or `all`."""

    def num_masks(self, trial: Course) -> int:
        """Masks that a network has room for."""
        return trial.num_tasks

    def layers(self, trial: Course) -> list[LayerSize]:
        """Heads for each task have no mask, as they have no context."""
        *others, last = super().layers(trial)
        return [*others, replace(last, has_context=not self.has_heads)]

    def cost(self, trial: Course) -> Cost:
        """Frozen weights and a mask; gradients go to inputs and to the masks' scores."""
        layers = self.layers(trial)
        multiplied = products(layers)
        shared = layers[:-1] if self.has_heads else layers
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
        shared = layers[:-1] if self.has_heads else layers
        weights, state = sum(layer.inputs * layer.outputs for layer in shared), num_state(trial)
        kept = {"none": 0, "one": 1, "all": trial.num_tasks}[self.keeps_scores_of]
        floats = weights * (6 + state + kept) + 4 * trial.batch_size * num_activations(trial, layers)
        if self.has_heads:  # of all tasks; and of the current one with its gradients, twice, and state
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
        if isinstance(self.asked, Inferred) and self.asked.first_layer_only:
            raise ValueError(
                "inference_layers='first' is for gradients with respect to contexts, not for method='supsup'; leave it "
                "out."
            )
        check_inference(trial, self.asked, self.extra_outputs)


class SupsupSettings(SupermaskSettings):
    """The settings of `supsup`; see `psp_core.methods.supsup`."""

    transfer: Literal["random", "previous", "running-mean"] = setting(
        "random",
        "What a task's scores begin with: `random` ones, the `previous` task's as they ended, or the `running-mean` of "
        "all tasks' so far.",
        column="transfer",
        label=", {} scores",
    )
    heads: Heads = heads_setting()
    inference: Inference = inference_setting()
    superfluous: int = superfluous_setting()

    @property
    def asked(self) -> Inference:
        """By `inference`."""
        return self.inference

    @property
    def extra_outputs(self) -> int:
        """The superfluous ones."""
        return self.superfluous

    @property
    def begins_with(self) -> str:
        """By `transfer`."""
        return self.transfer

    @property
    def has_heads(self) -> bool:
        """By `heads`."""
        return self.heads == "per-task"

    @property
    def keeps_scores_of(self) -> str:
        """What is transferred."""
        return "none" if self.transfer == "random" else "one"

    def pieces(self) -> dict[str, str]:
        """The method first."""
        return {"method": self.name} | super().pieces()

    def check(self, trial: Course) -> None:
        """Refuse tasks that come back, and heads where masks are mixed."""
        super().check(trial)
        if trial.num_cycles > 1:
            raise ValueError(
                f"num_cycles={trial.num_cycles}: method='supsup' trains each mask once; use one cycle, or give "
                "new_mask_eps."
            )
        if not self.has_heads:
            return
        if len(self.layers(trial)) == 1:
            raise ValueError(
                "heads='per-task' at depth=0: method='supsup' has no layer left that masks could choose from; give a "
                "depth."
            )
        if self.superfluous or not self.inference.is_given:
            raise ValueError(
                f"superfluous={self.superfluous}, task_inference={self.inference.name!r} with heads='per-task': a task "
                "is inferred from a mix of masks in every layer, the last one's too; use shared heads, or leave both "
                "out."
            )

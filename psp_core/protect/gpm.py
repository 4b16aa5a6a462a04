"""Gradient projection memory: steps stay orthogonal to what earlier tasks' inputs of each layer span."""

from collections.abc import Sequence
from typing import ClassVar, Self

import torch
from torch import Tensor

from psp_core.contexts import Context
from psp_core.course import Course
from psp_core.datasets import Data
from psp_core.groups import Group, Stretch
from psp_core.growth import Growth
from psp_core.models import LayerSize, Model, NetworkSize
from psp_core.networks import Networks
from psp_core.parts import Rule, setting
from psp_core.protect.base import Protection, State, Step
from psp_core.rules import at_least
from psp_core.streams import Stream

# E members, N images, P shared numbers, O outputs, R columns of a basis,
# I inputs of a layer, the bias counted as the weight of an input of 1


class GPM(Protection, name="gpm"):
    """w <- w' + (1 - M M^T) (w - w') for each layer at each step, w' being the weights before the step.

    The columns of M are orthonormal, and span what the layer's inputs span on earlier tasks, all but a share
    1 - threshold of their energy: when a task ends, with R its last images' inputs of the layer, (I, N), the first
    left singular vectors of R - M M^T R are added to M, as many as it takes for |M M^T R|^2 >= threshold |R|^2. So
    outputs on earlier tasks hardly move. Inputs are what weights are multiplied by: under contexts, the bound ones,
    which later tasks' are nearly orthogonal to.

    M M^T is kept, I^2 numbers, whatever the number of M's columns.

    Source: Saha, Garg and Roy 2021, section 5, eqs. 6 to 9. There gradients are projected, and SGD steps along them;
    here steps are, which is the same for SGD without weight decay, and holds for adaptive optimisers too. The networks
    there have no biases; here a bias is the weight of an input of 1, and is held with the others. Their threshold
    differs between layers and grows with each task.
    """

    numbers: ClassVar[int] = 1
    transient: ClassVar[frozenset[str]] = frozenset({"before"})

    threshold: float = setting(
        0.95,
        "The share of the energy of a layer's inputs on earlier tasks to which steps stay orthogonal.",
        rule=Rule(lambda value: 0 < value <= 1, "must lie between 0 and 1, such as 0.95; 1 keeps all directions."),
        per_member=True,
        label=" {:g}",
        says_default=True,
    )
    samples: int = setting(300, "N, training images behind each task's inputs: the last of the task.", rule=at_least(1))

    def check(self, trial: Course) -> None:
        """Refuse layers whose inputs are no real vectors."""
        model, context = trial.of(Model), trial.of(Context)
        if model.convolves:
            raise ValueError(
                f"protect={self.name!r} knows the inputs of fully connected layers alone; model={model.name!r} has "
                "convolutions: use 'mlp', or another protection."
            )
        if context.is_complex:
            raise ValueError(
                f"protect={self.name!r} projects real inputs; context={context.name!r} is complex: use 'binary', or "
                "another protection."
            )

        if trial.columns().get("output_contexts"):
            raise ValueError(
                f"protect={self.name!r} holds a bias with the weights, as the weight of an input of 1; "
                "output_contexts=true multiplies outputs before biases are added: leave out one of them."
            )

    def start(self, peers: Sequence[Self], shared: Group, trials: Sequence[Course]) -> State:
        """Nothing is spanned yet."""
        thresholds = shared.values_EP.new_tensor([peer.threshold for peer in peers])
        spaces = [shared.values_EP.new_zeros(len(peers), size, size) for size in _sizes(trials[0])]
        named = {_name(index): space_EII for index, space_EII in enumerate(spaces)}
        return {"threshold": thresholds, "before": torch.zeros_like(shared.values_EP)} | named

    def edit(self, state: State, shared: Group, step: Step) -> None:
        """Remember where the step begins."""
        state["before"].copy_(shared.values_EP)

    def stepped(self, state: State, shared: Group, networks: Networks) -> None:
        """Take back the part of the step that earlier tasks would feel."""
        now, before = (list(networks.views(values_EP).values()) for values_EP in (shared.values_EP, state["before"]))
        for index, (weight, bias) in enumerate(zip(now[::2], now[1::2], strict=True)):
            old_weight, old_bias = before[2 * index], before[2 * index + 1]
            step_EIO = torch.cat([weight - old_weight, (bias - old_bias)[:, None]], 1)
            felt_EIO = torch.bmm(state[_name(index)], step_EIO)
            weight.sub_(felt_EIO[:, :-1])
            bias.sub_(felt_EIO[:, -1])
        shared.round()

    def end(self, state: State, shared: Group, networks: Networks, stretch: Stretch) -> None:
        """Add what the task's inputs span."""
        batches = list(stretch.recent(-(-self.samples // stretch.batch_size)))
        x_ENI = torch.cat([x_EBI for x_EBI, _ in batches], 1)[:, -self.samples :]
        for index, inputs_ENI in enumerate(networks.layer_inputs(x_ENI)):
            inputs_ENI = torch.cat([inputs_ENI, torch.ones_like(inputs_ENI[..., :1])], -1)
            for space_II, inputs_NI, threshold in zip(
                state[_name(index)], inputs_ENI, state["threshold"].tolist(), strict=True
            ):
                space_II.add_(more_space(space_II, inputs_NI, threshold))

    def kept_bytes(self, trial: Course, num_shared: int) -> Growth:
        """What projects, of each layer; bases of fewer columns than half the inputs would take less."""
        return Growth(once=4 * sum(size**2 for size in _sizes(trial)))

    def training_bytes(self, trial: Course, num_shared: int) -> int:
        """The same, and the weights before the step."""
        return super().training_bytes(trial, num_shared) + self.kept_bytes(trial, num_shared).once

    def step_products(self, trial: Course, forward: int, step: int) -> int:
        """The projection of a step; a sample of its batch has its share of that."""
        return sum((layer.inputs + 1) ** 2 * layer.outputs for layer in _layers(trial)) // trial.batch_size

    def ending_products(self, trial: Course, forward: int, step: int, outputs: int) -> int:
        """Images' way forwards, and of each layer their part in what is spanned, the singular vectors and their square.

        The singular vectors of an (a, b) matrix, a >= b, take 7 a b^2 + 4 b^3 multiplications (Golub and Van Loan).
        """
        images, products = min(self.samples, trial.steps_per_task * trial.batch_size), 0
        for size in _sizes(trial):
            more, less = max(images, size), min(images, size)
            products += images * size**2 + 7 * more * less**2 + 4 * less**3 + size**2 * less
        return images * forward + products


def more_space(space_II: Tensor, inputs_NI: Tensor, threshold: float) -> Tensor:
    """What M M^T grows by, (I, I), so that it holds a share `threshold` of the energy of the inputs."""
    known_NI = inputs_NI @ space_II
    wanted, known = threshold * inputs_NI.square().sum(), known_NI.square().sum()
    if known >= wanted or not bool(inputs_NI.isfinite().all()):  # of a member that diverges there is nothing to keep
        return torch.zeros_like(space_II)
    _, values, directions = torch.linalg.svd(inputs_NI - known_NI, full_matrices=False)
    number = int((known + values.square().cumsum(0) < wanted).sum()) + 1
    new_RI: Tensor = directions[:number]
    return new_RI.mT @ new_RI


def _name(index: int) -> str:
    return f"space of layer {index}"


def _layers(trial: Course) -> list[LayerSize]:
    """The layers that tasks share."""
    sizes = trial.of(Data).sizes
    size = NetworkSize(image_shape=sizes.shape, out_features=trial.of(Stream).num_outputs(sizes))
    layers = trial.of(Model).layer_sizes(size)
    return layers[:-1] if trial.columns().get("heads") == "per-task" else layers


def _sizes(trial: Course) -> list[int]:
    """I of each of them, with the bias's."""
    return [layer.inputs + 1 for layer in _layers(trial)]

"""Memory aware synapses: a quadratic penalty on what earlier tasks need, by how strongly weights move the outputs."""

from collections.abc import Sequence
from typing import Self

import torch
from torch import Tensor

from psp_core.course import Course
from psp_core.groups import Group, Stretch
from psp_core.importance import OutputNorm
from psp_core.networks import Networks
from psp_core.parts import setting
from psp_core.protect.base import State
from psp_core.protect.ewc import EWC
from psp_core.rules import positive


class MAS(EWC, name="mas"):
    """g += 2 strength Omega (w - w'), w' the weights as the newest task's training ended.

    When a task ends, Omega grows by the mean over its images of |d ||f(x)||^2 / dw|, each image alone, f being the
    outputs before softmax under the task's own contexts and head. No label is asked for.

    Source: Aljundi et al. 2018, eqs. 2 to 4; there any images will do, here they are the task's last training images.
    """

    strength: float = setting(
        text="Strength of the penalty, lambda: what a weight's distance from its anchor costs, in units of its "
        "importance; the paper has 1.",
        rule=positive(", such as 1"),
        per_member=True,
        label=" {:g}",
    )

    def start(self, peers: Sequence[Self], shared: Group, trials: Sequence[Course]) -> State:
        """Nothing matters yet."""
        state = super().start(peers, shared, trials)
        state["strength"].mul_(2)
        return state

    def end(self, state: State, shared: Group, networks: Networks, stretch: Stretch) -> None:
        """Add the task's importance; all of it pulls to where its weights are."""
        state["fisher"].add_(self.measure(networks, stretch))
        torch.mul(state["fisher"], shared.values_EP, out=state["pull"])

    def measure(self, networks: Networks, stretch: Stretch) -> Tensor:
        """The task's importance, (E, P), on its last training images."""
        batches = stretch.recent(-(-self.samples // stretch.batch_size))
        return networks.importance((x_EBI for x_EBI, _ in batches), OutputNorm())

    def ending_products(self, trial: Course, forward: int, step: int, outputs: int) -> int:
        """Each image's way forwards, and one backwards."""
        batches = min(-(-self.samples // trial.batch_size), trial.steps_per_task)
        return batches * trial.batch_size * step

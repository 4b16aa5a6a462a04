"""Elastic weight consolidation: a quadratic penalty on what earlier tasks need, by the Fisher information."""

from collections.abc import Sequence
from typing import ClassVar, Self

import torch
from torch import Tensor

from psp_core.course import Course
from psp_core.groups import Group, Stretch
from psp_core.models import Model
from psp_core.networks import Networks
from psp_core.parts import Rule, setting
from psp_core.protect.base import Protection, State, Step
from psp_core.rules import at_least, positive

# E members, P shared numbers of one member


class EWC(Protection, name="ewc"):
    """g += strength sum_k F_k (w - w_k): each task k before has a Fisher information F_k and an anchor w_k of its own.

    F_k is the diagonal at w_k, the weights as the task's training ended, under the task's own contexts (`fisher`). The
    sum is kept as sum_k F_k and sum_k F_k w_k: two numbers for each weight, whatever the number of tasks. A task that
    comes back adds a second F.

    Source: Kirkpatrick et al. 2017, eq. 3, whose loss has strength / 2.
    """

    numbers: ClassVar[int] = 2
    kept_numbers: ClassVar[int] = 2

    strength: float = setting(
        text="Strength of the penalty, lambda: what a weight's distance from its anchors costs, in units of its "
        "Fisher information.",
        rule=positive(", such as 100"),
        per_member=True,
        label=" {:g}",
    )
    samples: int = setting(
        1024, "Training images behind each measurement of importance: the last of the task.", rule=at_least(1)
    )

    def check(self, trial: Course) -> None:
        """Refuse networks that cannot be asked about one image alone."""
        model = trial.of(Model)
        if model.leaves_one_pixel(trial) and not model.by_task:
            raise ValueError(
                f"protect={self.name!r}: model={model.name!r} normalises over a batch, and has one pixel left, so that "
                "it cannot be asked by single images; use norm 'per-task', or another model."
            )

    def start(self, peers: Sequence[Self], shared: Group, trials: Sequence[Course]) -> State:
        """Nothing matters yet."""
        strengths = shared.values_EP.new_tensor([peer.strength for peer in peers])[:, None]
        zeros = torch.zeros_like(shared.values_EP)
        return {"strength": strengths, "fisher": zeros, "pull": zeros.clone()}

    def edit(self, state: State, shared: Group, step: Step) -> None:
        """Add the penalty's gradient."""
        shared.gradients_EP.addcmul_(state["strength"], state["fisher"] * shared.values_EP - state["pull"])

    def end(self, state: State, shared: Group, networks: Networks, stretch: Stretch) -> None:
        """Add the task's Fisher information, and where its weights are."""
        fisher_EP = self.measure(networks, stretch)
        state["fisher"].add_(fisher_EP)
        state["pull"].addcmul_(fisher_EP, shared.values_EP)

    def measure(self, networks: Networks, stretch: Stretch) -> Tensor:
        """The task's Fisher information, (E, P), on its last training images."""
        batches = stretch.recent(-(-self.samples // stretch.batch_size))
        return networks.fisher(x_EBI for x_EBI, _ in batches)

    def ending_products(self, trial: Course, forward: int, step: int, outputs: int) -> int:
        """Each image's way forwards, and one backwards for each answer that there is."""
        batches = min(-(-self.samples // trial.batch_size), trial.steps_per_task)
        return batches * trial.batch_size * (forward + outputs * (step - forward))


class OnlineEWC(EWC, name="online-ewc"):
    """g += strength F (w - w'): one Fisher information of all tasks, and one anchor, where the newest task ended.

    F is multiplied by `decay` before a task's own is added.

    Source: Schwarz et al. 2018, section 4; there gamma is the decay.
    """

    decay: float = setting(
        1.0,
        "What the Fisher information of earlier tasks is multiplied by when a task's own is added. The paper calls it "
        "gamma.",
        rule=Rule(lambda value: 0 <= value <= 1, "must lie in [0, 1]; 1 forgets nothing."),
    )

    def end(self, state: State, shared: Group, networks: Networks, stretch: Stretch) -> None:
        """Add the task's Fisher information; all of it pulls to where its weights are."""
        state["fisher"].mul_(self.decay).add_(self.measure(networks, stretch))
        torch.mul(state["fisher"], shared.values_EP, out=state["pull"])

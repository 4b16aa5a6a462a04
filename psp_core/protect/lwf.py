"""Learning without forgetting: on the new task's images the network is to answer for earlier tasks as it did before."""

from collections.abc import Sequence
from typing import ClassVar, Self

import torch

from psp_core.course import Course
from psp_core.groups import Group, Stretch
from psp_core.images import inputs_of
from psp_core.networks import Networks
from psp_core.parts import setting
from psp_core.protect.base import Protection, State, Step
from psp_core.randomness import generator
from psp_core.rules import positive

# E members, B batch, I inputs, O outputs, P shared numbers of one member, S steps


class LwF(Protection, name="lwf"):
    """L += strength H(q, p), p = softmax(f / T), q = softmax(f' / T), f' the outputs of the weights as the task began.

    H is the mean over the step's own images of the cross-entropy - sum_o q_o log p_o. Both f and f' are asked under the
    first context and the head of an earlier task, drawn anew at each step: in the mean, strength times the mean over
    earlier tasks. Where tasks have nothing of their own it is one term on the outputs that all tasks share. Nothing is
    kept between tasks but the weights themselves.

    Source: Li and Hoiem 2016, eqs. 2 to 4, T = 2, where the loss adds up over earlier tasks and their heads are trained
    on too; here heads and contexts of earlier tasks stay as their tasks left them. Their first phase, which trains the
    new head alone, is left out, as most rivals of the method do.
    """

    numbers: ClassVar[int] = 2
    transient: ClassVar[frozenset[str]] = frozenset({"lengths", "rows", "old", "other"})
    asks_earlier_tasks: ClassVar[bool] = True

    strength: float = setting(
        1.0,
        "Strength of the distillation, lambda: what another answer for an earlier task costs, beside the task's own "
        "loss.",
        rule=positive(", such as 1"),
        per_member=True,
        label=" {:g}",
        says_default=True,
    )
    temperature: float = setting(
        2.0, "T, by which outputs are divided before they become probabilities.", rule=positive(", such as 2")
    )

    def start(self, peers: Sequence[Self], shared: Group, trials: Sequence[Course]) -> State:
        """The loss is off until a task has ended."""
        device, members = shared.values_EP.device, len(trials)
        return {
            "strength": shared.values_EP.new_tensor([peer.strength for peer in peers])[:, None],
            "is_on": shared.values_EP.new_zeros(members, 1),
            "seeds": torch.tensor([trial.seed for trial in trials]),
            "visits": torch.zeros(members, dtype=torch.int64),
            "lengths": torch.tensor([trial.num_tasks for trial in trials]),
            "rows": torch.zeros(members, trials[0].steps_per_task, dtype=torch.int64, device=device),
            "old": torch.zeros_like(shared.values_EP),
            "other": torch.zeros_like(shared.values_EP),
        }

    def begin(self, state: State, shared: Group, networks: Networks, stretch: Stretch) -> None:
        """Keep the weights as the task begins, and draw the earlier task of each of its steps."""
        if stretch.index or stretch.phase:
            return
        state["old"].copy_(shared.values_EP)
        known = [state[name].tolist() for name in ("seeds", "visits", "lengths")]
        for e, (seed, visits, length) in enumerate(zip(*known, strict=True)):
            if known_tasks := min(visits, length):
                rng = generator(seed, "tasks asked", visits)
                task_S = torch.randint(known_tasks, state["rows"].shape[1:], generator=rng)
                state["rows"][e] = task_S * stretch.count

    def edit(self, state: State, shared: Group, step: Step) -> None:
        """Add the gradients of the loss that answers for an earlier task have."""
        networks, x_EBI = step.networks, inputs_of(step.batch[0])
        row_E = state["rows"].index_select(1, step.number_1)[:, 0]
        targets_EBO = (networks.logits_at(row_E, x_EBI, state["old"]) / self.temperature).softmax(-1)
        networks.gradients_at(row_E, x_EBI, targets_EBO, state["other"], temperature=self.temperature)
        shared.gradients_EP.addcmul_(state["other"], state["strength"] * state["is_on"])

    def end(self, state: State, shared: Group, networks: Networks, stretch: Stretch) -> None:
        """Ask about the task from now on."""
        state["visits"] += 1
        state["is_on"].fill_(1)

    def training_bytes(self, trial: Course, num_shared: int) -> int:
        """Old weights, gradients, and the tasks that steps ask about."""
        return super().training_bytes(trial, num_shared) + 8 * trial.steps_per_task

    def step_products(self, trial: Course, forward: int, step: int) -> int:
        """The old weights' answer, and another step."""
        return forward + step

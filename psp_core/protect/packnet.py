"""PackNet: each task prunes what it trained, and owns what is left; the next one trains the pruned weights."""

from collections.abc import Sequence
from typing import ClassVar, Self

import torch
from torch import Tensor

from psp_core.course import Course
from psp_core.groups import Group, Stretch
from psp_core.growth import Growth
from psp_core.kept import Kind
from psp_core.networks import Networks
from psp_core.parts import Rule, setting
from psp_core.protect.base import Protection, State, Step

# E members, P shared numbers of one member, N weights of a layer

FREE = 0
"""The owner of weights that no task has kept; task k is owner k + 1."""


class PackNet(Protection, name="packnet"):
    """A task trains the free weights beside those that are owned, prunes the smallest, and owns and retrains the rest.

    Of each layer's weights that the task has trained, a share of `pruned` becomes 0 and is free for the next task; by
    size, layer by layer. The rest trains on for the last part of the task's steps. Nothing moves what is owned, and
    nothing what was pruned until the next task begins, whatever the optimiser remembers. A task is answered with its
    own weights and those of earlier owners. Biases, and norms' numbers, belong to task 0.

    What is kept is the owner of each number, in as many bits as K tasks and none need.

    Source: Mallya and Lazebnik 2018, "PackNet: Adding multiple tasks to a single network by iterative pruning"; there
    50% or 75% of the weights are pruned, and retraining takes half as many epochs as the training before it.
    """

    numbers: ClassVar[int] = 3
    kept_numbers: ClassVar[int] = 1
    kept_as: ClassVar[Kind] = "masks"
    transient: ClassVar[frozenset[str]] = frozenset({"held", "movable", "current", "pruned"})

    pruned: float = setting(
        0.75,
        "The share of each layer's weights, of those that a task has trained, which it leaves to later tasks.",
        rule=Rule(lambda value: 0 < value < 1, "must lie between 0 and 1, such as 0.75."),
        per_member=True,
        label=" {:g}",
        says_default=True,
    )
    retraining: float = setting(
        1 / 3,
        "The share of a task's steps that come after it has pruned.",
        rule=Rule(lambda value: 0 <= value < 1, "must lie in [0, 1), such as 0.33."),
    )

    def check(self, trial: Course) -> None:
        """Refuse tasks that come back: later ones have been built on what they left."""
        if trial.num_cycles > 1:
            raise ValueError(
                f"num_cycles={trial.num_cycles} does not apply to protect={self.name!r}, whose tasks own what they "
                "have trained; use one cycle, or another protection."
            )

    def phases(self, num_steps: int) -> Sequence[int]:
        """Training, and retraining."""
        last = round(num_steps * self.retraining)
        return num_steps - last, last

    def start(self, peers: Sequence[Self], shared: Group, trials: Sequence[Course]) -> State:
        """All weights are free."""
        values_EP = shared.values_EP
        return {
            "pruned": values_EP.new_tensor([peer.pruned for peer in peers])[:, None],
            "current": torch.zeros(len(peers), 1, dtype=torch.int16, device=values_EP.device),
            "owner": torch.zeros_like(values_EP, dtype=torch.int16),
            "movable": torch.zeros_like(values_EP, dtype=torch.bool),
            "held": torch.zeros_like(values_EP),
        }

    def begin(self, state: State, shared: Group, networks: Networks, stretch: Stretch) -> None:
        """Take what is free; or prune, in the second phase, before the rest is retrained."""
        state["current"].fill_(stretch.task)
        for name, movable in networks.views(state["movable"]).items():
            owner, weight = (networks.views(tensor)[name] for tensor in (state["owner"], shared.values_EP))
            if not stretch.phase:
                movable.copy_(owner == FREE)  # but not what lies between layers
            elif is_pruned(weight):
                smallest = self._smallest(weight.flatten(1), movable.flatten(1), state["pruned"]).view_as(movable)
                movable.logical_and_(~smallest)
                weight.masked_fill_(smallest, 0)
        shared.round()
        state["held"].copy_(shared.values_EP)

    def _smallest(self, weight_EN: Tensor, movable_EN: Tensor, share_E1: Tensor) -> Tensor:
        """Which of a layer's weights are pruned: the smallest of those that have moved, bool (E, N)."""
        size_EN = weight_EN.abs().masked_fill(~movable_EN, torch.inf)
        number_E1 = (movable_EN.sum(dim=1, keepdim=True) * share_E1).round()
        in_order_EN = size_EN.argsort(dim=1, stable=True)
        is_early_EN = torch.arange(size_EN.shape[1], device=size_EN.device) < number_E1
        return torch.zeros_like(movable_EN).scatter_(1, in_order_EN, is_early_EN)

    def edit(self, state: State, shared: Group, step: Step) -> None:
        """The optimiser sees no gradient of what does not move."""
        shared.gradients_EP.mul_(state["movable"])

    def stepped(self, state: State, shared: Group, networks: Networks) -> None:
        """Take back what momentum or weight decay has moved."""
        torch.where(state["movable"], shared.values_EP, state["held"], out=shared.values_EP)
        shared.round()

    def end(self, state: State, shared: Group, networks: Networks, stretch: Stretch) -> None:
        """The task owns what it has trained to the end."""
        state["owner"].masked_fill_(state["movable"], stretch.task + 1)

    def view(self, state: State, task: int, values_EP: Tensor) -> Tensor:
        """The numbers of the task's own and of earlier owners; of the task in training, all."""
        owner = state["owner"]
        used = (owner <= task + 1) & ((owner != FREE) | (state["current"] == task))
        return values_EP * used

    def kept_bytes(self, trial: Course, num_shared: int) -> Growth:
        """The owner of each number."""
        return Growth(once=-(-num_shared * trial.num_tasks.bit_length() // 8))


def is_pruned(weight: Tensor) -> bool:
    """Whether a tensor with the members first has a layer's weights, and not biases or a norm's numbers."""
    return weight.dim() > 2

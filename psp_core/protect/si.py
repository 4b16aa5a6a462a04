"""Synaptic intelligence: a quadratic penalty on what earlier tasks need, by each weight's part in lowering the loss."""

from collections.abc import Sequence
from typing import ClassVar, Self

import torch

from psp_core.course import Course
from psp_core.groups import Group, Stretch
from psp_core.networks import Networks
from psp_core.parts import setting
from psp_core.protect.base import Protection, State, Step
from psp_core.rules import positive

# E members, P shared numbers of one member


class SI(Protection, name="si"):
    """g += 2 strength Omega (w - w'), w' the weights as the newest task's training ended.

    While a task trains, omega = - sum over steps of g dw is what each weight's moves have lowered the task's loss by, g
    being the loss's own gradient, without penalty and weight decay. When the task ends, Omega grows by
    omega / (d^2 + damping), d how far the weight has moved in the task, and never falls.

    Source: Zenke, Poole and Ganguli 2017, eqs. 3 to 5; that negative omega count as 0 is in their code.
    """

    numbers: ClassVar[int] = 5
    kept_numbers: ClassVar[int] = 2  # importance and anchor
    transient: ClassVar[frozenset[str]] = frozenset({"path", "gradient", "before"})

    strength: float = setting(
        0.1,
        "Strength of the penalty: what a weight's distance from its anchor costs. The paper calls it c.",
        rule=positive(),
        per_member=True,
        label=" {:g}",
        says_default=True,
    )
    damping: float = setting(
        1e-3,
        "Keeps the importance finite of weights that hardly moved. The paper calls it xi.",
        rule=positive(),
        per_member=True,
    )

    def start(self, peers: Sequence[Self], shared: Group, trials: Sequence[Course]) -> State:
        """Nothing matters yet; the anchor is where the weights begin."""
        names = ("importance", "path", "gradient", "before")
        columns = {
            "strength": shared.values_EP.new_tensor([peer.strength for peer in peers])[:, None],
            "damping": shared.values_EP.new_tensor([peer.damping for peer in peers])[:, None],
            "anchor": shared.values_EP.clone(),
        }
        return {name: torch.zeros_like(shared.values_EP) for name in names} | columns

    def edit(self, state: State, shared: Group, step: Step) -> None:
        """Remember the loss's own gradient and where the step begins, and add the penalty's gradient."""
        state["gradient"].copy_(shared.gradients_EP)
        state["before"].copy_(shared.values_EP)
        away_EP = (shared.values_EP - state["anchor"]).mul_(state["importance"])
        shared.gradients_EP.addcmul_(state["strength"], away_EP, value=2)

    def stepped(self, state: State, shared: Group, networks: Networks) -> None:
        """Add to each weight's path what its move has done to the loss."""
        state["path"].addcmul_(state["gradient"], state["before"] - shared.values_EP)

    def end(self, state: State, shared: Group, networks: Networks, stretch: Stretch) -> None:
        """Turn the path into importance, and begin the next one here."""
        moved_EP = shared.values_EP - state["anchor"]
        state["importance"].add_((state["path"] / (moved_EP.square() + state["damping"])).clamp_(min=0))
        state["anchor"].copy_(shared.values_EP)
        state["path"].zero_()

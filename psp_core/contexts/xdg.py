"""XdG, context-dependent gating: a task uses a random few of the hidden units."""

from typing import ClassVar

import torch
from torch import Tensor

from psp_core.contexts.base import Context
from psp_core.contexts.diagonal import Diagonal
from psp_core.parts import Rule, setting

# K tasks, I units


class XdG(Diagonal, name="xdg"):
    """c(k) in {0, 1}^I for the I units of each hidden layer, 0 with a probability of `gated`, independently.

    The network's inputs have no gates. Units before heads of each task's own have gates too. Of a convolution's
    feature maps a gate is of a whole channel (`channel_contexts`); shortcuts of ResNets pass by the gates.

    Not orthogonal: what is bound loses the units behind closed gates. The crosstalk of one other model has the mean
    (1 - gated)^2 <w, x>, not 0. One bit per hidden unit and task.

    Source: Masse, Grant and Freedman 2018, "Alleviating catastrophic forgetting using context-dependent gating and
    synaptic stabilization"; there 80% of the units are gated, beside SI or EWC (`protect`). They drop out half of the
    hidden units in training besides; nothing does here.
    """

    is_orthogonal: ClassVar[bool] = False
    is_learnable: ClassVar[bool] = False  # gates are open or closed
    is_of_units: ClassVar[bool] = True

    gated: float = setting(
        0.8,
        "The share of hidden units that a task does not use.",
        rule=Rule(lambda value: 0 < value < 1, "must lie between 0 and 1, such as 0.8."),
        column="gated",
        label=" {:g}",
        says_default=True,
        per_member=True,
    )

    def draw(self, size: int, generator: torch.Generator) -> Tensor:
        """0 or 1 for each unit."""
        return torch.rand(size, generator=generator) >= self.gated

    def bytes_per_task(self, size: int) -> int:
        """One bit for each unit, rounded up to whole bytes."""
        return -(-size // 8)

    @property
    def of_inputs(self) -> Context:
        """Open gates."""
        return OpenGates()


class OpenGates(Diagonal):
    """c(k) = 1: what the network's inputs have where hidden units have gates; no study can name it."""

    def draw(self, size: int, generator: torch.Generator) -> Tensor:
        """Ones, of which nothing is random."""
        return torch.ones(size)

    def sample(
        self, num_tasks: int, size: int, generator: torch.Generator, device: torch.device | None = None
    ) -> Tensor:
        """The same for each task, in the memory of a single number."""
        return self.neutral(num_tasks, size, device)

    def bytes_per_task(self, size: int) -> int:
        """Zero."""
        return 0

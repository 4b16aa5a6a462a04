"""A-GEM: a step must not raise the loss on images of earlier tasks, to first order."""

import torch

from psp_core.groups import Group
from psp_core.protect.base import State, Step
from psp_core.protect.memory import WithMemory

# E members, P shared numbers of one member


class AGEM(WithMemory, name="a-gem"):
    """Where g . g_memory < 0: g -= (g . g_memory / g_memory . g_memory) g_memory.

    Source: Chaudhry et al. 2019, "Efficient lifelong learning with A-GEM", eq. 11. There the memory has as many images
    of each task, and a batch mixes tasks; see `WithMemory`. It is the gradient that is projected, as there: an
    optimiser with a memory of its own takes other steps.
    """

    def edit(self, state: State, shared: Group, step: Step) -> None:
        """Take out what points against the memory's gradients, if there is anything in it."""
        g_EP, other_EP = shared.gradients_EP, self.ask(state, step)
        along_E1 = (g_EP * other_EP).sum(1, keepdim=True).clamp_(max=0)
        square_E1 = other_EP.square().sum(1, keepdim=True).clamp_(min=torch.finfo(other_EP.dtype).tiny)
        g_EP.addcmul_(other_EP, along_E1 / square_E1 * state["is_on"], value=-1)

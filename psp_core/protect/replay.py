"""Experience replay: images of earlier tasks are trained on again."""

from psp_core.groups import Group
from psp_core.protect.base import State, Step
from psp_core.protect.memory import WithMemory

# E members, P shared numbers of one member, B batch, m images of the memory's batch


class Replay(WithMemory, name="replay"):
    """g = (B g_task + m g_memory) / (B + m): the mean over the step's batch and a batch of the memory.

    Source: Chaudhry et al. 2019, "On tiny episodic memories in continual learning", algorithm 1. What a head for each
    task learns, the batch of the task in training teaches it alone.
    """

    def edit(self, state: State, shared: Group, step: Step) -> None:
        """Mix the memory's gradients in, if there is anything in it."""
        asked, batch = state["slots"].shape[2], step.batch[1].shape[1]
        other_EP, share_E1 = self.ask(state, step), state["is_on"] * (asked / (asked + batch))
        shared.gradients_EP.mul_(1 - share_E1).addcmul_(other_EP, share_E1)

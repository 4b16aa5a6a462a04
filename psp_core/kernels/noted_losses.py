"""The end of a step: its losses are noted, and the next step is counted."""

from __future__ import annotations

from typing import TYPE_CHECKING

from torch import Tensor

from psp_core.kernels.choice import Kernel, has_kernels, power_of_two

if TYPE_CHECKING:
    import triton.language as tl

# S steps, E members


def note_losses(losses_SE: Tensor, step_1: Tensor, loss_E: Tensor) -> None:
    """Write the losses of step s into row s of the table, and count s up."""
    if has_kernels(losses_SE.device):
        launch(losses_SE, step_1, loss_E)
    else:
        reference(losses_SE, step_1, loss_E)


def reference(losses_SE: Tensor, step_1: Tensor, loss_E: Tensor) -> None:
    """The same by PyTorch's operations."""
    losses_SE.index_copy_(0, step_1, loss_E[None])
    step_1 += 1


def launch(losses_SE: Tensor, step_1: Tensor, loss_E: Tensor) -> None:
    """The same by one program."""
    num_members = len(loss_E)
    _note_losses.launch(
        (1,), losses_SE, step_1, loss_E.contiguous(), num_members, BLOCK=power_of_two(num_members, least=32, most=1024)
    )


@Kernel
def _note_losses(losses: tl.tensor, step: tl.tensor, loss: tl.tensor, num_members: int, BLOCK: tl.constexpr) -> None:
    now = tl.load(step)
    for first in range(0, num_members, BLOCK):
        member = first + tl.arange(0, BLOCK)
        inside = member < num_members
        tl.store(losses + now * num_members + member, tl.load(loss + member, mask=inside, other=0.0), mask=inside)
    tl.debug_barrier()  # every thread has read the step
    tl.store(step, now + 1)

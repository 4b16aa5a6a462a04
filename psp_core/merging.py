"""How networks that were trained apart from one start are kept in one vector of weights, and one of them is retrieved.

What task k's training has moved its weights by is its delta; the biases are the last row of a layer's weights, those of
an input that is always 1.
"""

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from math import prod
from typing import Any, ClassVar

import torch
from torch import Tensor

from psp_core.contexts import Context
from psp_core.kept import Kind
from psp_core.parts import Part, setting
from psp_core.rules import positive
from psp_core.supermasks.bits import bit_bytes

# K tasks merged, T of them retrieved, I inputs of a layer and 1 for its biases, O outputs


class Merge(Part, family="merge"):
    """What is made of deltas. All are in memory while tasks are trained; what counts is what would be stored.

    Attributes:
        kept_as: what a task has of its own.
    """

    kept_as: ClassVar[Kind] = "contexts"
    implies: ClassVar[Mapping[str, Any]] = {"context": "none"}

    def draw(self, num_tasks: int, size: int, rng: torch.Generator, device: torch.device) -> Tensor:
        """What each task has of its own in a layer of so many inputs, and is no delta: (K, ...)."""
        return torch.empty(num_tasks, 0, device=device)

    @abstractmethod
    def retrieve(self, deltas_KIO: Tensor, tasks: Sequence[int], drawn: Tensor) -> Tensor:
        """What is retrieved of these tasks' deltas, once K are merged: (T, I, O).

        Args:
            deltas_KIO: of one layer.
            tasks: which of them.
            drawn: what `draw` gave, of these K tasks or of more.
        """

    def bytes_per_task(self, inputs: int, outputs: int) -> int:
        """Bytes that one more task costs a layer."""
        return 0

    def numbers_per_task(self, inputs: int) -> int:
        """Numbers that `draw` makes for one task in a layer."""
        return 0

    def check(self, sizes: Sequence[int], num_tasks: int) -> None:
        """Refuse layers of these inputs.

        Raises:
            ValueError: the message names setting, value, rule and remedy.
        """


class Average(Merge, name="average"):
    """The mean of all tasks' weights, one network for all of them.

    Source: Wortsman et al. 2022, "Model soups".
    """

    def retrieve(self, deltas_KIO: Tensor, tasks: Sequence[int], drawn: Tensor) -> Tensor:
        """The mean, for every task."""
        return deltas_KIO.mean(0).expand(len(tasks), *deltas_KIO.shape[1:])


class TaskArithmetic(Merge, name="task-arithmetic"):
    """The sum of all deltas, times a number: one network for all tasks.

    Source: Ilharco et al. 2023, "Editing models with task arithmetic".
    """

    scale: float = setting(
        0.3,
        "What the sum of deltas is multiplied by; the paper chooses it on validation images, 0.3 or so.",
        rule=positive(", such as 0.3"),
        label=" x{:g}",
    )

    def retrieve(self, deltas_KIO: Tensor, tasks: Sequence[int], drawn: Tensor) -> Tensor:
        """The same for every task."""
        return (self.scale * deltas_KIO.sum(0)).expand(len(tasks), *deltas_KIO.shape[1:])


class TallMasks(Merge, name="tall-masks"):
    """The sum of all deltas, and for each task a mask: the weights where the sum is near the task's own delta.

    Weight by weight, m_k = |d_k| > lambda |d - d_k| with the sum d, and d m_k is retrieved.

    Source: Wang et al. 2024, "Localizing task information for improved model merging and compression" (ICML), and the
    authors' code, whose inequality is strict. There each task has the best lambda of 0.2, 0.3, ..., 0.6 on its own
    validation images; here all tasks have one.
    """

    kept_as: ClassVar[Kind] = "masks"

    mask_lambda: float = setting(
        0.4,
        "How few weights a task keeps of the sum: the larger, the fewer. The paper calls it lambda.",
        rule=positive(", such as 0.4"),
        column="mask_lambda",
        label=" {:g}",
    )

    def retrieve(self, deltas_KIO: Tensor, tasks: Sequence[int], drawn: Tensor) -> Tensor:
        """The sum through each task's mask."""
        total_IO, own_TIO = deltas_KIO.sum(0), deltas_KIO[list(tasks)]
        return total_IO * (own_TIO.abs() > self.mask_lambda * (total_IO - own_TIO).abs())

    def bytes_per_task(self, inputs: int, outputs: int) -> int:
        """A bit for each weight and bias."""
        return bit_bytes(inputs * outputs)


class RanDeS(Merge, name="randes"):
    """Deltas in superposition: each is stored under a random context of its own, and retrieved with crosstalk.

    PSP's storing and retrieving of models that were trained before (paper A, section 2), of deltas instead of weights.

    Source: Zhou et al. 2025, "RanDeS: Randomized delta superposition for multi-model compression" (arXiv 2505.11204).
    Its random diagonal signs are `binary`; its other means against interference, putting one model's layer onto
    another's of the same shape, does not apply to networks whose layers differ in shape. Biases are superposed too. A
    seed would do for a context, as the paper counts; here contexts count in bytes, as those of `psp` do.
    """

    implies: ClassVar[Mapping[str, Any]] = {}

    context: Context = setting("binary", "What turns the shared weights into one task's weights.", label=" {}")

    def draw(self, num_tasks: int, size: int, rng: torch.Generator, device: torch.device) -> Tensor:
        """Each task's context."""
        return self.context.sample(num_tasks, size, rng, device)

    def retrieve(self, deltas_KIO: Tensor, tasks: Sequence[int], drawn: Tensor) -> Tensor:
        """Each task's own delta and the crosstalk of all others."""
        stored_IO = self.context.store(deltas_KIO, drawn[: len(deltas_KIO)]).sum(0)
        return self.context.retrieve(stored_IO.expand(len(tasks), *stored_IO.shape), drawn[list(tasks)])

    def bytes_per_task(self, inputs: int, outputs: int) -> int:
        """A context."""
        return self.context.bytes_per_task(inputs)

    def numbers_per_task(self, inputs: int) -> int:
        """Those of a context."""
        return prod(self.context.shape(inputs))

    def check(self, sizes: Sequence[int], num_tasks: int) -> None:
        """Refuse contexts from which a delta does not come back, and too many tasks for a context."""
        if self.context.is_complex or not self.context.is_orthogonal:
            raise ValueError(
                f"context={self.context.name!r} does not apply to merge='randes', which stores real numbers and wants "
                "them back: use an orthogonal real context, such as 'binary'."
            )
        for size in sizes:
            most = self.context.max_tasks(size)
            if most is not None and num_tasks > most:
                raise ValueError(
                    f"context={self.context.name!r} has {most} different contexts for {size} inputs, biases' included; "
                    f"num_tasks={num_tasks} needs more: give fewer, or use 'binary'."
                )

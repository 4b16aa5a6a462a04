"""The turned stream: every task shows the same images turned by an angle of its own."""

from typing import TYPE_CHECKING, ClassVar, Final

from torch import Tensor

from psp_core.datasets import DATASETS
from psp_core.streams.rotating import Rotating

if TYPE_CHECKING:
    from psp_core.trial import TrialConfig

ANGLES: Final = 36
"""Tasks in a full turn, 10 degrees apart."""


class Turned(Rotating):
    """Task k shows all images turned by 10 k degrees counter-clockwise, k = 0..35; task 0 as they are.

    Nothing changes within a task, nothing is random, and task k is the same whatever the number of tasks.
    The turning itself is the rotating stream's: bilinear, about the centre, black outside.

    Args:
        shape: (C, H, W) of an image.

    Source: RotatedMNIST of paper B (papers.md, B3 and B5). Its authors turn images with PIL before they are
    scaled; this is a map for whole batches on the device, as in `Rotating`.
    """

    name: ClassVar[str] = "turned"
    is_continuous: ClassVar[bool] = False
    is_nested: ClassVar[bool] = True

    def __init__(self, shape: tuple[int, int, int]) -> None:
        """A rotating stream of 36 tasks, each standing still where that one begins it."""
        super().__init__(shape, ANGLES)

    @classmethod
    def for_trial(cls, config: "TrialConfig") -> "Turned":
        """The stream of a trial."""
        return cls(DATASETS[config.dataset].shape)

    @classmethod
    def check(cls, config: "TrialConfig") -> None:
        """Refuse more tasks than there are angles."""
        super().check(config)
        if config.num_tasks > ANGLES:
            raise ValueError(
                f"num_tasks={config.num_tasks}: stream='turned' has {ANGLES} at most, 10 degrees apart; give fewer."
            )

    def describe(self, task: int, fraction: float = 0.0) -> Tensor:
        """The angle in radians, shape ()."""
        return super().describe(task)

"""No protection: shared weights follow the newest task."""

from collections.abc import Sequence
from typing import ClassVar

from psp_core.course import Course
from psp_core.groups import Group
from psp_core.protect.base import Protection, State


class NoProtection(Protection, name="none"):
    """Shared weights are free to move."""

    is_any: ClassVar[bool] = False

    def start(self, peers: Sequence[Protection], shared: Group, trials: Sequence[Course]) -> State:
        """Nothing."""
        return {}

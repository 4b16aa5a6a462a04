"""No protection: shared weights follow the newest task."""

from collections.abc import Sequence

from psp_core.groups import Group
from psp_core.protect.base import Protection, State


class NoProtection(Protection, name="none"):
    """Shared weights are free to move."""

    @property
    def is_any(self) -> bool:
        """No."""
        return False

    def start(self, peers: Sequence[Protection], shared: Group) -> State:
        """Nothing."""
        return {}

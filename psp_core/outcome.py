"""What a column of the trial store says that is no setting."""

from typing import NamedTuple


class Outcome(NamedTuple):
    """A column that results have.

    Attributes:
        kind: its type.
        text: what it says, with its unit.
        is_large: of whole numbers, whether they need 64 bits.
    """

    kind: type
    text: str
    is_large: bool = False

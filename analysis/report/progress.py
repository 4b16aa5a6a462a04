"""How far a study is, as whoever knows the study's plan tells the report."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, kw_only=True)
class Progress:
    """What a store's study plans, beside what the store holds.

    Attributes:
        name: of the study.
        about: what the study says of itself.
        planned: how many trials there are to be.
        done: how many of them are measured, those that diverged included.
        diverged: how many diverged.
        failed: how many ended by an error.
        running: how many are being trained.
        others: how many stored trials are none of the planned.
        missing: of each planned trial without a measurement its `curve`, settings that vary, and `status`: failed,
            running or to do.
        commands: the shell commands that make the store again.
        study: the study file's text.
        ran_with: versions of what ran the study, by name.
    """

    name: str
    about: str = ""
    planned: int = 0
    done: int = 0
    diverged: int = 0
    failed: int = 0
    running: int = 0
    others: int = 0
    missing: Sequence[Mapping[str, Any]] = ()
    commands: Sequence[str] = ()
    study: str = ""
    ran_with: Mapping[str, str] = field(default_factory=dict)

    @property
    def to_do(self) -> int:
        """How many are neither measured, nor failed, nor being trained."""
        return self.planned - self.done - self.failed - self.running

    @property
    def is_whole(self) -> bool:
        """Whether nothing is left to measure."""
        return self.done == self.planned

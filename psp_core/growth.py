"""A quantity that grows with the number of tasks."""

from typing import NamedTuple


class Growth(NamedTuple):
    """What all tasks share, and what one more task adds.

    Attributes:
        once: for any number of tasks.
        per_task: for each task.
    """

    once: int = 0
    per_task: int = 0

    def after(self, num_tasks: int) -> int:
        """The quantity after so many tasks."""
        return self.once + num_tasks * self.per_task

    def plus(self, other: "Growth") -> "Growth":
        """Both together; `+` would join tuples."""
        return Growth(self.once + other.once, self.per_task + other.per_task)

    def times(self, number: int) -> "Growth":
        """So many of it; `*` would repeat tuples."""
        return Growth(number * self.once, number * self.per_task)

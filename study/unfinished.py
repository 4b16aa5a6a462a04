"""Packs that are not finished: what their workers noted of them, and in words how far they are."""

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from psp_core.messages import plural


@dataclass(frozen=True, kw_only=True)
class Unfinished:
    """A pack that is being trained, or was when its run ended.

    Attributes:
        trial_ids: its members.
        tasks_seen: how many tasks it had trained when its worker last said so.
        tasks_kept: how many of them its newest kept state has; 0 where none is kept.
        is_waiting: whether a later run has begun since, which has not come to this pack yet.
    """

    trial_ids: tuple[str, ...]
    tasks_seen: int
    tasks_kept: int = 0
    is_waiting: bool = False


def begun(packs: Iterable[Unfinished]) -> dict[str, int]:
    """Tasks seen so far by each trial of the packs that are being trained, or were when their run ended."""
    return {name: pack.tasks_seen for pack in packs if not pack.is_waiting for name in pack.trial_ids}


def half_way(packs: Iterable[Unfinished], num_visits: Mapping[str, int]) -> str:
    """The packs whose state is kept, in words: `1 pack of 9 trials at task 43 of 50`; empty where there are none.

    Args:
        packs: unfinished ones.
        num_visits: of each trial that is still to be trained, by trial id; packs of others are passed over.
    """
    at = defaultdict[tuple[int, int], list[int]](list)
    for pack in packs:
        if pack.tasks_kept and all(name in num_visits for name in pack.trial_ids):
            at[len(pack.trial_ids), max(num_visits[name] for name in pack.trial_ids)].append(pack.tasks_kept)
    return ", ".join(
        f"{plural(len(tasks), 'pack')} of {plural(members, 'trial')} at task "
        + (f"{tasks[0]}" if len(tasks) == 1 else f"{min(tasks)} to {max(tasks)}")
        + f" of {visits}"
        for (members, visits), tasks in at.items()
    )

"""From a study to packs: which trials there are, what is merged, and what trains together."""

import hashlib
import heapq
import json
from collections import defaultdict
from collections.abc import Collection, Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from typing import Final

from psp_core.experiment import FIRST_KIND, Experiment, Length
from study.amounts import amounts
from study.rates import Amounts
from study.workers import Workers, this_machine

SCHEMA_VERSION: Final = 1  # raise it when the same configuration, or a default, would give another result

MAX_MEMBERS: Final = {"cpu": 16, "cuda": 128}
MAX_PRODUCTS: Final = 500_000
"""On a CPU a pack grows up to so many multiplications for one sample of all its members' steps. What a
pack saves there is Python's part of a step; beyond this, members only push each other out of the
caches (docs/performance.md)."""
MEMORY_USED: Final = 0.8  # of a worker's: the rest is PyTorch's own, and what an estimate misses

START_SECONDS: Final = 15  # until the first pack trains: importing torch, Ray, and a worker that imports torch
FIRST_RESULT: Final = 120  # seconds until a first trial should be stored, where one can be trained in that time
LATER: Final = 1.03  # by so much a study may end later for that


@dataclass(frozen=True)
class Start:
    """A stored trial that is the beginning of a planned one.

    Attributes:
        trial_id: which.
        num_tasks: how many tasks it has.
        is_kept: whether its state is in the store, so that the planned one can go on from there.
    """

    trial_id: str
    num_tasks: int
    is_kept: bool = True


@dataclass(frozen=True)
class Pack:
    """Trials of one shape that run together, on one device.

    Attributes:
        trials: its members.
        starts: what each goes on from, after as many tasks as its neighbours; empty where all begin at the beginning.
    """

    trials: tuple[Experiment, ...]
    starts: tuple[Start, ...] = ()

    @property
    def tasks_before(self) -> int:
        """How many tasks its members have behind them when it begins."""
        return self.starts[0].num_tasks if self.starts else 0

    @property
    def num_visits(self) -> int:
        """The pieces of its longest trial."""
        return max(trial.num_visits for trial in self.trials)

    def of(self, members: Sequence[int]) -> "Pack":
        """A pack of some of its members."""
        return Pack(tuple(self.trials[e] for e in members), tuple(self.starts[e] for e in members if self.starts))

    @cached_property
    def id(self) -> str:
        """The hash of its trials' ids; the name of its files in the store."""
        return _digest([trial_id(trial) for trial in self.trials])

    @property
    def num_steps(self) -> int:
        """Optimiser steps, each of which moves every member that is not done; none where nothing is trained."""
        return max(trial.work(self.tasks_before).num_steps if trial.num_steps else 0 for trial in self.trials)

    @property
    def member_bytes(self) -> int:
        """Memory that the largest of its trials needs, estimated."""
        return max(trial.member_bytes for trial in self.trials)

    def bytes(self, device: str) -> int:
        """Memory that it needs there, estimated."""
        return self.trials[0].shared_bytes(device) + sum(trial.member_bytes for trial in self.trials)

    @cached_property
    def amounts(self) -> Amounts:
        """What its time is made of, but for what is behind it."""
        return amounts(self.trials, self.tasks_before)

    def seconds(self, workers: Workers) -> float:
        """Estimated time on one of these workers, measuring included."""
        return workers.rates.seconds(self.amounts, workers.packs_per_gpu)

    def halves(self) -> "tuple[Pack, Pack]":
        """Two packs of half its trials each."""
        middle = (len(self.trials) + 1) // 2
        return self.of(range(middle)), self.of(range(middle, len(self.trials)))


Timed = tuple[float, Pack]  # its estimated seconds


def trial_id(trial: Experiment, length: Length | None = None) -> str:
    """The trial's identity in every store: 16 hex digits.

    A hash of the canonical configuration and the schema version: the same in every process and on
    every machine, whatever study the trial belongs to. Settings at their defaults are left out, so
    that a setting added later does not orphan the trials measured before it.

    Args:
        trial: which.
        length: in place of its own.
    """
    instead = {"num_tasks": length.num_tasks, "milestones": length.milestones} if length else {}
    kind = {} if trial.kind == FIRST_KIND else {"kind": trial.kind}
    return _digest({"schema": SCHEMA_VERSION, **kind, **trial.chosen_with(**instead)})


def merge(trials: Iterable[Experiment]) -> list[Experiment]:
    """One trial for all that differ only in num_tasks, in the order of their first appearance.

    Training K tasks passes through every smaller number, in streams whose tasks do not depend on it; where
    the study measures less than everything at each boundary, the smaller numbers become milestones at
    which all is measured.
    """
    num_tasks: defaultdict[Experiment, set[int]] = defaultdict(set)
    for trial in trials:
        if trial.is_nested:
            num_tasks[trial.with_length(1)] |= trial.length.whole_at
        else:
            num_tasks[trial] = {trial.length.num_tasks}
    return [_merged(trial, seen) for trial, seen in num_tasks.items()]


def _merged(trial: Experiment, num_tasks: set[int]) -> Experiment:
    if num_tasks == {trial.length.num_tasks}:
        return trial
    last = max(num_tasks)
    return trial.with_length(last, () if trial.always_measures_all else tuple(sorted(num_tasks - {last})))


def make_packs(
    trials: Iterable[Experiment],
    workers: Workers | None = None,
    max_members: int | None = None,
    starts: Mapping[str, Start] | None = None,
) -> list[Pack]:
    """Group trials by shape into packs, in the order in which they should start.

    Args:
        trials: the whole plan. Packs are formed of all of it, whatever is done already, so that a
            continued run trains the same trials together as an uninterrupted one would have.
        workers: where packs will run; this machine by default.
        max_members: a bound on their size, below what the device allows.
        starts: by trial id, what trials go on from; those that go on after as many tasks train together.
    """
    workers, starts = workers or this_machine(), starts or {}
    groups: defaultdict[tuple[Hashable, Length | None, int], list[Experiment]] = defaultdict(list)
    packs = []
    for trial in trials:
        start = starts.get(trial_id(trial))
        # Those that go on when shorter ones are done draw their contexts again: on a CPU packs are too small for that.
        length = trial.length if workers.device == "cpu" else None
        groups[trial.shape, length, start.num_tasks if start else 0].append(trial)
    for (*_, tasks_before), group in groups.items():
        for chunk in _chunks(group, _most_members(group, workers, max_members)):
            packs.append(Pack(chunk, tuple(starts[trial_id(trial)] for trial in chunk if tasks_before)))
    return _with_results_early(_balanced(packs, workers), workers)


def without(packs: Iterable[Pack], done: Collection[str]) -> list[Pack]:
    """The packs less the trials whose ids are in `done`."""
    left = ((pack, [e for e, trial in enumerate(pack.trials) if trial_id(trial) not in done]) for pack in packs)
    return [pack.of(members) for pack, members in left if members]


def _chunks(group: Sequence[Experiment], most: int) -> list[tuple[Experiment, ...]]:
    """Members of packs of at most so many trials, as equal in size as can be.

    Trials of one length lie beside each other, and among these trials of one seed, which share contexts.
    """
    num_packs = -(-len(group) // most)
    in_order = sorted(group, key=lambda trial: (trial.num_visits, trial.row["seed"]))
    cuts = [len(group) * i // num_packs for i in range(num_packs + 1)]
    return [tuple(in_order[a:b]) for a, b in pairwise(cuts)]


def _most_members(group: Sequence[Experiment], workers: Workers, max_members: int | None) -> int:
    """How many trials of one shape may train together; at least one, however large."""
    trial, member_bytes = group[0], max(trial.member_bytes for trial in group)  # momentum and contexts cost memory
    in_memory = (MEMORY_USED * workers.memory - trial.shared_bytes(workers.device)) // member_bytes
    bounds = [MAX_MEMBERS[workers.device], max_members or len(group), in_memory]
    if workers.device == "cpu":
        products = max(trial.work().step_products for trial in group)
        bounds.append(trial.most_members or MAX_PRODUCTS // max(1, products))
    return max(1, int(min(bounds)))


def duration(packs: Iterable[Pack], workers: Workers) -> float:
    """Estimated seconds until all packs have run, which start in this order."""
    return max(ends(packs, workers), default=0.0)


def ends(packs: Iterable[Pack], workers: Workers) -> list[float]:
    """Estimated seconds until each pack has run, which start in this order."""
    return [end for end, _ in _run(((pack.seconds(workers), pack) for pack in packs), workers)]


def _balanced(packs: Sequence[Pack], workers: Workers) -> list[Timed]:
    """Halve packs for as long as that ends the study sooner, so that all workers are busy to the end.

    Returns:
        The packs with their seconds, the longest first.
    """
    timed = _longest_first((pack.seconds(workers), pack) for pack in packs)
    best, best_end = timed, float("inf")
    while timed:
        end, pack = max(_run(timed, workers), key=lambda end: end[0])
        if end < 0.99 * best_end:
            best, best_end = timed, end
        even = sum(seconds for seconds, _ in best) / workers.count
        if len(pack.trials) == 1 or end > 1.1 * best_end or best_end < 1.02 * even:
            break
        halves = ((half.seconds(workers), half) for half in pack.halves())
        timed = _longest_first([entry for entry in timed if entry[1] is not pack] + list(halves))
    return best


def _with_results_early(timed: list[Timed], workers: Workers) -> list[Pack]:
    """The order in which packs start: with a short one, unless the study ends later for that.

    Whether anything is wrong with a study shows in its first results. One worker takes all packs from the shortest to
    the longest, for its end is the same in any order. Several begin with the shortest pack, cut to what can be trained
    soon enough, and take the others from the longest on, so that none is left alone with a long one.

    Args:
        timed: the packs, the longest first.
        workers: where they run.
    """
    if not timed:
        return []
    latest = LATER * max(end for end, _ in _run(timed, workers))
    for first, *others in (_cut_short(timed, workers), _shortest_first(timed)):
        order = [first, *(others if workers.count == 1 else _longest_first(others))]
        if max(end for end, _ in _run(order, workers)) <= latest:
            return [pack for _, pack in order]
    return [pack for _, pack in timed]


def _cut_short(timed: list[Timed], workers: Workers) -> list[Timed]:
    """The packs from the shortest on; if that takes long, a part of what has the shortest trials comes before them."""
    soon = FIRST_RESULT - START_SECONDS - workers.rates.rates.workers
    if min(seconds for seconds, _ in timed) <= soon:
        return _shortest_first(timed)
    alone, pack = min(((pack.of([0]).seconds(workers), pack) for _, pack in timed), key=lambda entry: entry[0])
    if alone > soon:
        return _shortest_first(timed)
    part = pack
    while part.seconds(workers) > soon:
        part, _ = part.halves()
    rest = pack.of(range(len(part.trials), len(pack.trials)))
    pieces = [(piece.seconds(workers), piece) for piece in (part, rest)]
    return _shortest_first([*pieces, *(entry for entry in timed if entry[1] is not pack)])


def _shortest_first(timed: Iterable[Timed]) -> list[Timed]:
    return sorted(timed, key=lambda entry: entry[0])


def _longest_first(timed: Iterable[Timed]) -> list[Timed]:
    return sorted(timed, key=lambda entry: -entry[0])


def _run(timed: Iterable[Timed], workers: Workers) -> list[tuple[float, Pack]]:
    """When each pack ends, if a worker takes the next one as soon as it is free."""
    free_at = [workers.rates.rates.workers] * workers.count
    ends = []
    for seconds, pack in timed:
        ends.append((heapq.heappop(free_at) + seconds, pack))
        heapq.heappush(free_at, ends[-1][0])
    return ends


def _digest(value: object) -> str:
    text = json.dumps(value, sort_keys=True, separators=(",", ":"))
    return hashlib.blake2b(text.encode(), digest_size=8).hexdigest()

"""From a study to packs: which trials there are, what is merged, and what trains together."""

import hashlib
import json
from collections import defaultdict
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, fields, replace
from itertools import pairwise
from typing import Final

from psp_core.contexts import CONTEXTS
from psp_core.datasets import DATASETS
from psp_core.trial import TrialConfig

SCHEMA_VERSION: Final = 1  # raise it when the same configuration, or a default, would give another result

MAX_MEMBERS: Final = 16
MAX_PRODUCTS: Final = 200_000
"""A pack grows up to so many members, and multiplications for one sample of each: on a CPU batched
products of wider networks are slower than single ones."""

# Rough cost of training on one CPU core, see docs/performance.md.
_SECONDS_PER_STEP: Final = 2e-3
_FLOPS_PER_SECOND: Final = 8e10


@dataclass(frozen=True)
class Pack:
    """Trials of one shape that train together, on one device."""

    trials: tuple[TrialConfig, ...]

    @property
    def id(self) -> str:
        """The hash of its trials' ids; the name of its files in the store."""
        return _digest([trial_id(trial) for trial in self.trials])

    @property
    def num_steps(self) -> int:
        """Optimiser steps, each of which moves every member."""
        return self.trials[0].num_steps

    @property
    def cost(self) -> float:
        """Estimated seconds on one CPU core, evaluation left out; good to a factor of two or so."""
        trial = self.trials[0]
        weights, contexts = _num_products(trial)  # forward and backward; contexts mostly forward
        flops = trial.batch_size * (6 * weights + 2 * contexts) * len(self.trials)
        return self.num_steps * (_SECONDS_PER_STEP + flops / _FLOPS_PER_SECOND)


def trial_id(trial: TrialConfig) -> str:
    """The trial's identity in every store: 16 hex digits.

    A hash of the canonical configuration and the schema version: the same in every process and on
    every machine, whatever study the trial belongs to. Settings at their defaults are left out, so
    that a setting added later does not orphan the trials measured before it.
    """
    chosen = {f.name: value for f in fields(trial) if (value := getattr(trial, f.name)) != f.default}
    return _digest({"schema": SCHEMA_VERSION, **chosen})


def merge(trials: Iterable[TrialConfig]) -> list[TrialConfig]:
    """One trial for all that differ only in num_tasks, in the order of their first appearance.

    Training K tasks passes through every smaller number; where the study measures less than
    everything at each boundary, the smaller numbers become milestones at which all is measured.
    """
    num_tasks: defaultdict[TrialConfig, set[int]] = defaultdict(set)
    for trial in trials:
        num_tasks[replace(trial, num_tasks=1, milestones=())] |= {trial.num_tasks, *trial.milestones}
    return [_merged(trial, seen) for trial, seen in num_tasks.items()]


def _merged(trial: TrialConfig, num_tasks: set[int]) -> TrialConfig:
    last = max(num_tasks)
    always_whole = trial.eval_tasks == "all" and trial.eval_samples is None
    milestones = () if always_whole else tuple(sorted(num_tasks - {last}))
    return replace(trial, num_tasks=last, milestones=milestones)


def make_packs(trials: Iterable[TrialConfig], done: Collection[str] = ()) -> list[Pack]:
    """Group trials by shape into packs, the costliest first; trials that are done are left out.

    Packs are formed of all trials and thinned afterwards, so that a continued run trains the same
    trials together as an uninterrupted one would have.
    """
    by_shape: defaultdict[TrialConfig, list[TrialConfig]] = defaultdict(list)
    for trial in trials:
        by_shape[trial.shape].append(trial)
    packs = [pack for group in by_shape.values() for pack in _chunks(group)]
    left = [tuple(trial for trial in pack if trial_id(trial) not in done) for pack in packs]
    return sorted((Pack(trials) for trials in left if trials), key=lambda pack: -pack.cost)


def _chunks(group: Sequence[TrialConfig]) -> list[tuple[TrialConfig, ...]]:
    most = max(1, min(MAX_MEMBERS, MAX_PRODUCTS // sum(_num_products(group[0]))))
    num_packs = -(-len(group) // most)
    return [tuple(group[start::num_packs]) for start in range(num_packs)]


def _num_products(trial: TrialConfig) -> tuple[int, int]:
    """Real multiplications of one sample's forward pass: through the weights, and to bind contexts."""
    sizes = DATASETS[trial.dataset]
    layers = [sizes.num_inputs, *[trial.width] * trial.depth, sizes.num_classes]
    weights = sum(i * o for i, o in pairwise(layers))
    context = CONTEXTS[trial.context]
    return weights * (4 if context.is_complex else 1), sum(map(context.num_products, layers[:-1]))


def _digest(value: object) -> str:
    text = json.dumps(value, sort_keys=True, separators=(",", ":"))
    return hashlib.blake2b(text.encode(), digest_size=8).hexdigest()

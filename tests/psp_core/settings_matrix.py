"""All pairs of settings' values, in few trials: what `tests/psp_core/test_settings_matrix.py` trains.

Values come from the settings that trials declare: every choice of a name, both of a yes or no, some numbers, and none
where there may be none. A new setting joins by itself. What is chosen says every setting, with its first default where
the setting does not apply. Trials are found by a search that begins with those below and changes a setting or several
at a time; what `TrialConfig` refuses on the way is kept with its message.
"""

import random
import types
from collections.abc import Iterator, Mapping
from dataclasses import MISSING, dataclass, field
from itertools import combinations
from typing import Any, Final, get_args

from psp_core.datasets import DATASETS
from psp_core.identity import DEFAULTS as AT_FIRST
from psp_core.parts import Setting
from psp_core.trial import Trial, TrialConfig

Chosen = dict[str, Any]  # a trial's settings by name, all of them
Pair = tuple[tuple[str, Any], tuple[str, Any]]

SETTINGS: Final = {one.column: one for one in Trial.columns_of_settings()}
DEFAULTS: Final[Chosen] = {
    name: AT_FIRST.get(name, None if one.default is MISSING else one.default) for name, one in SETTINGS.items()
}
NUMBERS: Final = (0, 0.125, 1, 2)  # of these, the first two beside the default that a setting may be
SOME: Final[dict[str, list[Any]]] = {  # where others matter, or would take long
    "dataset": [name for name, data in DATASETS.items() if data.sizes.in_memory],
    "width": [4, 6, DEFAULTS["width"]],  # the default alone is accepted where there is none
    "depth": [0, 1, DEFAULTS["depth"]],
    "num_tasks": [2, 3],
    "steps_per_task": [2, 4],
    "batch_size": [1, 3],
    "max_bytes": [None, 10**6],
    "validation": [0, 20],
    "protect_budget": [DEFAULTS["protect_budget"], 2000],
    "steps_per_decision": [1, 2, DEFAULTS["steps_per_decision"]],
    "milestones": [(), (1,)],
    "lr": [1e-3, 0.1],
    "superfluous": [0, 5],
    "recovery_lr": [1.0, DEFAULTS["recovery_lr"]],
}
TINY: Final = {"dataset": "digits", "width": 4, "num_tasks": 2, "steps_per_task": 2, "batch_size": 3, "lr": 1e-3}
STARTS: Final[list[Chosen]] = [
    {},
    {"method": "supsup", "context": "none"},
    {"method": "hopsupsup", "context": "none", "stream": "split", "classes_per_task": 2, "keep_labels": True},
    {"learned_contexts": True, "output_contexts": True, "trunk": "first-task"},
    {"method": "merged"},
    {"method": "merged", "context": "none", "merge": "tall-masks"},
    {"method": "merged", "context": "none", "merge": "task-arithmetic"},
    {"method": "merged", "context": "none", "merge": "average"},
    {"context": "none", "trunk": "per-task"},
    {"context": "none", "joint": True},
    {"joint": True, "heads": "per-task"},
    {"method": "hat", "context": "none"},
    {"context": "xdg", "protect": "packnet"},
    {"eval_on": "validation", "validation": 20},
    {"context": "none", "protect": "replay", "protect_budget": 2000},
    {"context": "none", "protect": "replay", "protect_share": 0.125, "max_bytes": 10**6},
    {"method": "supsup", "context": "none", "masks": "top-k", "sparsity": 0.125},
    {"task_inference": "entropy-gradient-descent", "inference_lr": 0.5, "inference_steps": 1},
    {"dataset": "cifar-10-100", "stream": "incremental", "model": "resnet-18"},
    {"steps_per_task": 4, "lr_schedule": "multistep", "lr_decay_steps": 2},
    {
        "method": "nns", "context": "none", "task_inference": "entropy-one-shot", "shared_labels": True,
        "new_mask_eps": 0.125, "steps_per_decision": 1,
    },
]  # fmt: skip
MOST_BYTES: Final = 3e7
MOST_PRODUCTS: Final = 3e7
"""Of a trial, in all of its steps: so that a trial takes a second at most."""


def values() -> dict[str, list[Any]]:
    """The values of each setting that are tried."""
    return {name: SOME.get(name) or _values(one) for name, one in SETTINGS.items()}


def _values(one: Setting) -> list[Any]:
    found, kind = [DEFAULTS[one.column]], one.kind
    if isinstance(kind, types.UnionType):
        found.append(None)
        kind = get_args(kind)[0]
    found += one.choices
    found += [False, True] if kind is bool else []
    numbers = [kind(number) for number in NUMBERS if kind in (int, float) and kind(number) == number]
    found += [number for number in numbers if number not in found and _is_allowed(one, number)][:2]
    return list(dict.fromkeys(found))


def _is_allowed(one: Setting, value: Any) -> bool:
    try:
        one.checked(value)
    except ValueError:
        return False
    return True


@dataclass
class Search:
    """A search for trials that have every pair of values between them.

    Attributes:
        values: of each setting.
        trials: those found.
        uncovered: the pairs that no trial has so far.
        refused: settings that were refused, by the message.
        failed: settings whose check did not end in a ValueError, with what it ended in.
    """

    values: Mapping[str, list[Any]] = field(default_factory=values)
    trials: list[Trial] = field(default_factory=list)
    refused: dict[str, Chosen] = field(default_factory=dict)
    failed: dict[str, Chosen] = field(default_factory=dict)
    rng: random.Random = field(default_factory=lambda: random.Random(0))

    def __post_init__(self) -> None:
        """Begin with all pairs."""
        self.uncovered = dict.fromkeys(self._pairs())
        self._having: dict[tuple[str, Any], list[Chosen]] = {}
        self._places = {name: place for place, name in enumerate(self.values)}

    def _pairs(self) -> Iterator[Pair]:
        for (one, of_one), (other, of_other) in combinations(self.values.items(), 2):
            yield from (((one, a), (other, b)) for a in of_one for b in of_other)

    def run(self, tries: int = 3) -> None:
        """Find trials; a pair that is refused beside so many trials with a half of it is taken as refused."""
        for start in STARTS:
            self._take(self._improved({**DEFAULTS, **TINY, **start}))
        for name, of_name in self.values.items():
            for value in of_name:
                if (name, value) not in self._having:
                    self._reach((name, value))
        pairs = list(self.uncovered)
        self.rng.shuffle(pairs)
        for pair in pairs:
            if pair in self.uncovered and (found := self._with(pair, tries)):
                self._take(self._improved(found))

    def without(self) -> list[tuple[str, Any]]:
        """Values that no trial has."""
        return [(name, v) for name, of_name in self.values.items() for v in of_name if (name, v) not in self._having]

    def _reach(self, wanted: tuple[str, Any], tries: int = 3000) -> None:
        """Find a trial with a value, by changing up to three other settings of one that there is."""
        for _ in range(tries):
            chosen = {**DEFAULTS, **self.rng.choice(self.trials).row}
            for name in self.rng.sample(list(self.values), self.rng.randrange(4)):
                chosen[name] = self.rng.choice(self.values[name])
            chosen[wanted[0]] = wanted[1]
            if self._accepted(chosen):
                self._take(self._improved(chosen))
                return

    def _with(self, pair: Pair, tries: int) -> Chosen | None:
        """Settings with both values, of a trial that has one of them and is accepted with the other."""
        for (name, value), half in (pair, pair[::-1]):
            having = self._having.get(half, [])
            for other in self.rng.sample(having, min(tries, len(having))):
                if self._accepted(chosen := {**other, name: value}):
                    return chosen
        return None

    def _improved(self, chosen: Chosen) -> Chosen:
        """The same with other values wherever they make more pairs new, and the first of what is new as it is."""
        kept = self._first_new(chosen)
        for name in self.rng.sample(list(self.values), len(self.values)):
            if name in kept:
                continue
            news = {value: self._num_new(chosen, name, value) for value in self.values[name]}
            for value in sorted(news, key=lambda value: -news[value]):
                if value == chosen[name] or self._accepted({**chosen, name: value}):
                    chosen = {**chosen, name: value}
                    break
        return chosen

    def _first_new(self, chosen: Chosen) -> set[str]:
        for pair in combinations(chosen.items(), 2):
            if pair in self.uncovered:
                return {name for name, _ in pair}
        return set()

    def _num_new(self, chosen: Chosen, name: str, value: Any) -> int:
        items = {**chosen, name: value}
        return sum(self._ordered((name, value), item) in self.uncovered for item in items.items())

    def _ordered(self, one: tuple[str, Any], other: tuple[str, Any]) -> Pair:
        return (one, other) if self._places[one[0]] < self._places[other[0]] else (other, one)

    def _accepted(self, chosen: Chosen) -> bool:
        try:
            trial = TrialConfig(**chosen)
        except ValueError as error:
            self.refused.setdefault(str(error), chosen)
            return False
        except Exception as error:
            self.failed.setdefault(repr(error), chosen)
            return False
        products = trial.cost.step_products * trial.batch_size * trial.num_steps
        return trial.member_bytes <= MOST_BYTES and products <= MOST_PRODUCTS

    def _take(self, chosen: Chosen) -> None:
        self.trials.append(TrialConfig(**chosen))
        for pair in combinations(chosen.items(), 2):
            self.uncovered.pop(pair, None)
        for item in chosen.items():
            self._having.setdefault(item, []).append(chosen)

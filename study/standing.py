"""A study beside a store: which trials there are, stage by stage, what is done, and what was chosen by now."""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final

from psp_core.experiment import Experiment
from study.choices import Choice
from study.nested import Finished, Planned, compared, not_among
from study.plan import Pack, make_packs, merge, trial_id
from study.spec import StudyError, StudySpec
from study.store import TrialStore
from study.tuning import Found, Stage, stages
from study.workers import Workers


@dataclass(frozen=True)
class Standing:
    """Trials of a study beside a store: each with its stored result.

    Attributes:
        combinations: trials that the study names, before those that differ in num_tasks alone are merged.
        planned: the merged trials, each with its stored result.
        stored: what the store has of each trial, by trial id.
        damaged: a sentence for each file of the store that cannot be read.
        name: of the stage, where these are a stage's (`study.tuning.Stage`).
        to_come: merged stand-ins for trials whose settings are not chosen yet.
    """

    combinations: int
    planned: list[Planned]
    stored: dict[str, Finished]
    damaged: list[str]
    name: str = ""
    to_come: list[Experiment] = field(default_factory=list)

    def count(self, *statuses: str | None) -> int:
        """The number of planned trials with one of these statuses; None stands for trials without a stored result."""
        return sum(planned.status in statuses for planned in self.planned)

    def unplanned(self) -> set[str]:
        """Ids of the stored trials that are none of the planned ones, nor a beginning or an answer of one."""
        named = {trial_id(trial) for planned in self.planned for trial in (planned.trial, planned.trained)}
        return self.stored.keys() - named - {str(planned.answer) for planned in self.planned}

    @property
    def trained(self) -> list[Experiment]:
        """The planned trials as they are trained."""
        return [planned.trained for planned in self.planned]

    def done(self) -> set[str]:
        """Ids of the planned trials that need no training."""
        return {trial_id(planned.trained) for planned in self.planned if planned.is_done}

    def packs(self, workers: Workers, max_members: int | None) -> list[Pack]:
        """The packs of all planned trials, done or not."""
        starts = {
            trial_id(planned.trained): planned.start
            for planned in self.planned
            if planned.start and planned.start.is_kept
        }
        return make_packs(self.trained, workers, max_members, starts)

    def foreseen(self) -> "Standing":
        """The same with the stand-ins among the planned, for an estimate."""
        stand_ins = [Planned(trial, trial, None, None) for trial in self.to_come]
        return replace(self, planned=[*self.planned, *stand_ins])


@dataclass(frozen=True)
class Stored:
    """What a store holds, and what that says of trials.

    Attributes:
        store: which.
        finished: what the store has of each trial, by trial id.
        damaged: a sentence for each file that cannot be read.
        kept: ids of trials whose state is kept.
    """

    store: TrialStore
    finished: dict[str, Finished]
    damaged: list[str]
    kept: set[str]

    @classmethod
    def of(cls, store: TrialStore) -> "Stored":
        """Read a store."""
        return cls(store, *store.finished(), store.kept())

    def beside(self, trials: Iterable[Experiment]) -> list[Planned]:
        """Each trial with its stored result."""
        return compared(trials, self.finished, self.kept)

    def scores(self, trials: Sequence[Experiment]) -> list[float | None]:
        """Each trial's mean accuracy over its tasks; chance where it diverged, None where it has no result."""
        beside = self.beside(trials)
        means = self.store.accuracies() if any(planned.is_done for planned in beside) else {}
        return [self._score(planned, means) for planned in beside]

    def _score(self, planned: Planned, means: Mapping[tuple[str, int], float]) -> float | None:
        if planned.status == "diverged":
            return 1 / int(str(planned.trial.facts["num_labels"]))
        return means.get((self.id_of(planned), planned.trial.num_visits)) if planned.is_done else None

    def id_of(self, planned: Planned) -> str:
        """Under which id the store has, or will have, its result."""
        return planned.answer or trial_id(planned.trial)


def standing(spec: StudySpec, store: TrialStore) -> Standing:
    """Compare a study with a store: all its trials that can be known by now."""
    return together(by_stage(spec, Stored.of(store))[0])


def by_stage(spec: StudySpec, stored: Stored) -> tuple[list[Standing], list[Found]]:
    """Compare a study with a store, stage by stage; and what is chosen by now."""
    every, found = stages(spec, stored.scores)
    return [_standing(stage, stored) for stage in every], found


def whole_standing(spec: StudySpec, store: TrialStore, only: Sequence[str] = ()) -> Standing:
    """Compare a store with its whole study and with everything that was run by `--set`, or a part as `--only` says.

    Raises:
        StudyError: there is no such part (`StudySpec.with_only`).
    """
    stored, parts = Stored.of(store), list[StudySpec]()
    for each in (spec, *store.read_parts(spec)):
        try:
            parts.append(each.with_only(list(only)))
        except StudyError as error:
            none = error
    if not parts:
        raise none
    every = [by_stage(each, stored)[0] for each in parts]
    return together([stage for of_spec in every for stage in of_spec])


def _standing(stage: Stage, stored: Stored) -> Standing:
    combinations = len(dict.fromkeys(stage.trials)) + len(stage.to_come)
    return Standing(
        combinations,
        stored.beside(merge(stage.trials)),
        stored.finished,
        stored.damaged,
        stage.name,
        merge(stage.to_come),
    )


def together(every: Sequence[Standing]) -> Standing:
    """All stages' trials, each once; a trial that is the beginning of a longer one is part of it."""
    first, *others = every
    planned, to_come = list(first.planned), list(first.to_come)
    for stage in others:
        new = set(not_among((each.trial for each in stage.planned), [each.trial for each in planned]))
        planned += [each for each in stage.planned if each.trial in new]
        to_come += not_among(stage.to_come, to_come)
    combinations = sum(stage.combinations for stage in every)
    return Standing(combinations, planned, first.stored, first.damaged, to_come=to_come)


RECORD: Final = "tuning.json"
"""The store's file that says what a study chose, and by what: made anew from the trials by every run."""


def record(spec: StudySpec, found: Sequence[Found], stored: Stored) -> bytes:
    """What the file says: of each cell its settings, what was tried (accuracies, trial ids), and what was chosen."""
    assert spec.tune
    cells = [
        {
            "cell": {key: value for key, value in each.cell.items() if not isinstance(value, Choice)},
            "tuned": list(each.best.values),
            "chosen": each.best.values,
            "accuracy": each.best.accuracy,
            "tried": [
                {"values": tried.values, "accuracy": tried.accuracy, "trials": _ids(tried.trials, stored)}
                for tried in each.tried
            ],
            "measured": _ids(each.measured, stored),
        }
        for each in found
    ]
    content = {"search": spec.tune.search, "cells": _with_earlier(cells, _recorded(stored.store))}
    return json.dumps(content, indent=1).encode()


def _with_earlier(cells: Sequence[dict[str, Any]], earlier: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """And what earlier runs chose beside these cells, or measured of the same choice: by `--set`, say."""
    by_settings = {json.dumps([cell["cell"], cell["tuned"]], sort_keys=True): cell for cell in cells}
    for cell in earlier:
        new = by_settings.setdefault(json.dumps([cell["cell"], cell["tuned"]], sort_keys=True), cell)
        if new["chosen"] == cell["chosen"]:
            new["measured"] = list(dict.fromkeys([*cell["measured"], *new["measured"]]))
    return list(by_settings.values())


def _recorded(store: TrialStore) -> list[dict[str, Any]]:
    """The cells of the file as it is; none where it is missing or damaged."""
    try:
        cells: list[dict[str, Any]] = json.loads(store.files.read(RECORD))["cells"]
    except (FileNotFoundError, ValueError, KeyError, TypeError):
        return []
    return cells


def _ids(trials: Sequence[Experiment], stored: Stored) -> list[str]:
    return [stored.id_of(planned) for planned in stored.beside(trials)]

"""What a study chooses by itself: the `tune:` block, the trials that it needs, and what follows from their results.

A cell is one variant at one value of each axis. Each cell has a best setting of its own, found by trials that are
measured on validation images, with seeds that no result has. Everything here follows from the study and from what its
store holds, so a run that was stopped and begun again chooses the same.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise, product
from math import prod
from typing import Any, Final, Protocol

from psp_core.experiment import Experiment
from psp_core.messages import did_you_mean
from psp_core.root import Root
from study.choices import KINDS, Choice, Row, choices_of, settled
from study.reading import Reader, StudyError, mapping

SEARCHES: Final = ("grid", "random", "optuna")
KEYS: Final = ("search", "trials", "rounds", "seeds", "validation", "settings")
MEASURE_KEYS: Final = ("seeds", "settings")
USUAL_ROUNDS: Final = 4

TENTH: Final = 10  # of the training images are the validation part, unless a study says another number

Score = Callable[[Sequence[Experiment]], list[float | None]]
"""Accuracies of trials on validation images; None of those that are not done."""


@dataclass(frozen=True, kw_only=True)
class Tune:
    """How a study chooses settings.

    Attributes:
        search: `grid` tries every combination of listed values, `random` draws, `optuna` asks Optuna's TPE.
        trials: how many combinations each cell tries; of a grid None.
        rounds: in how many parts Optuna's trials are asked for, so that those of a part train in packs.
        seeds: of the tuning trials; none of a result's.
        validation: how many training images are kept away from training, and measured; None for a tenth of them.
        settings: in what tuning trials differ from measured ones, such as fewer tasks.
    """

    search: str
    trials: int | None
    rounds: int
    seeds: list[int]
    validation: int | None
    settings: Row

    @classmethod
    def read(cls, content: Mapping[str, Any], reader: Reader) -> "Tune":
        """The block of a study file.

        Raises:
            StudyError: a key is unknown, or a value wrong.
        """
        refuse_keys("tune", content, KEYS, reader.root)
        search = content.get("search", "grid")
        if search not in SEARCHES:
            raise StudyError(f"tune: search={search!r} is not known; {did_you_mean(search, SEARCHES)}")
        if "seeds" not in content:
            raise StudyError("tune: seeds is missing; list seeds that no measured trial has, such as 'seeds: [100]'.")
        trials = _whole("trials", content.get("trials"))
        if search == "grid" and trials is not None:
            raise StudyError(f"tune: trials={trials} does not apply to search='grid', which tries all; leave it out.")
        if search != "grid" and trials is None:
            raise StudyError(
                f"tune: search={search!r} needs trials: how many each variant tries, such as 'trials: 12'."
            )
        if search != "optuna" and "rounds" in content:
            raise StudyError(f"tune: rounds does not apply to search={search!r}; leave it out, or use 'optuna'.")
        for key, value in mapping(content, "settings").items():
            if isinstance(value, Mapping) and value.keys() & set(KINDS):
                raise StudyError(
                    f"tune: settings {key} has one value, which all tuning trials share; what the study chooses stands "
                    "in its settings or variants."
                )
        settings, listed = reader.settings(content)
        for key in listed:
            raise StudyError(
                f"tune: settings {key} has several values; give one, or let the study choose: {{choice: ...}}"
            )
        return cls(
            search=search,
            trials=trials,
            rounds=min(_whole("rounds", content.get("rounds")) or USUAL_ROUNDS, trials or 1),
            seeds=reader.values("tune", "seeds", content["seeds"]),
            validation=_whole("validation", content.get("validation")),
            settings=settings,
        )

    def to_mapping(self) -> Row:
        """As a study file has it."""
        row: Row = {"search": self.search, "seeds": self.seeds}
        row |= {"rounds": self.rounds} if self.search == "optuna" else {}
        others = {"trials": self.trials, "validation": self.validation, "settings": self.settings}
        return row | {key: value for key, value in others.items() if value}

    @property
    def sizes(self) -> list[int]:
        """How many combinations each round has; of a grid one round, whose size the cells know."""
        if self.trials is None or self.search != "optuna":
            return [self.trials or 0]
        cuts = [self.trials * part // self.rounds for part in range(self.rounds + 1)]
        return [after - before for before, after in pairwise(cuts)]

    def check(self, cells: Sequence[Row], measured_seeds: Sequence[int]) -> None:
        """Refuse a search that has nothing to choose or cannot choose it, and seeds that results have.

        Raises:
            StudyError: the message names what is wrong, and the remedy.
        """
        if common := sorted(set(self.seeds) & set(measured_seeds)):
            raise StudyError(
                f"tune: seeds {common} are measured ones too, whose tasks would choose their own settings; take seeds "
                "that no measured trial has."
            )
        every = {(column, choice) for cell in cells for column, choice in choices_of(cell).items()}
        if not every:
            raise StudyError(
                "tune: no setting is left to choose; say what may be chosen where its value stands, such as "
                "'lr: {choice: [0.0001, 0.001]}', or leave tune out."
            )
        for column, choice in sorted(every, key=str):
            if column in self.settings:
                raise StudyError(f"tune: settings has {column!r}, which the study chooses; leave it out there.")
            if self.search == "grid" and choice.is_range:
                raise StudyError(
                    f"{column}: {choice.to_mapping()!r} has no list of values for search='grid'; list them: "
                    f"{{choice: [...]}}, or use 'random' or 'optuna'."
                )


def refuse_keys(where: str, content: Mapping[str, Any], keys: Sequence[str], root: type[Root]) -> None:
    """Refuse what is no key of a block; a setting gets the hint where settings stand.

    Raises:
        StudyError: there is such a key.
    """
    for key in content:
        if key in keys:
            continue
        try:
            root.setting_at(key)
        except ValueError:
            raise StudyError(f"{where}: {key!r} is not a key of it; {did_you_mean(key, keys)}") from None
        raise StudyError(f"{where}: {key!r} is a setting: put it under '{where}: settings:'.")


def _whole(key: str, value: object) -> int | None:
    if value is not None and (not isinstance(value, int) or isinstance(value, bool) or value < 1):
        raise StudyError(f"tune: {key}={value!r} must be a whole number of at least 1.")
    return value


class Searcher(Protocol):
    """Proposes settings of one cell, and hears how good they were."""

    def ask(self, number: int) -> list[Row]:
        """So many combinations to try, or as many as there are left."""

    def tell(self, accuracies: Sequence[float]) -> None:
        """How good those were that were asked for last."""


class Listed:
    """A searcher that has all its combinations from the beginning."""

    def __init__(self, combinations: list[Row]) -> None:
        """Remember them."""
        self._left = combinations

    def ask(self, number: int) -> list[Row]:
        """The next ones; all where no number is said, which is 0."""
        asked, self._left = self._left[: number or None], self._left[number or len(self._left) :]
        return asked

    def tell(self, accuracies: Sequence[float]) -> None:
        """Learn nothing."""


def every_combination(choices: Mapping[str, Choice]) -> list[Row]:
    """Those of a grid."""
    columns = [choice.values for choice in choices.values()]
    return [dict(zip(choices, values, strict=True)) for values in product(*columns)]


def random_combinations(choices: Mapping[str, Choice], number: int) -> list[Row]:
    """So many drawn ones, each once. The same settings in the same ranges are drawn alike in all cells."""
    rows = [{column: choice.drawn(column, index) for column, choice in choices.items()} for index in range(number)]
    return [row for place, row in enumerate(rows) if row not in rows[:place]]


@dataclass(frozen=True, kw_only=True)
class Tried:
    """One combination that a cell tried.

    Attributes:
        values: the settings that were chosen among.
        trials: one for each tuning seed.
        accuracy: mean over them on validation images; a trial that diverged counts as chance.
    """

    values: Row
    trials: list[Experiment]
    accuracy: float


@dataclass(frozen=True, kw_only=True)
class Found:
    """The best setting of a cell.

    Attributes:
        cell: the settings of the study there, choices included.
        best: the best of what was tried, the first of equals; its values are those that are measured.
        tried: everything that was tried, in order.
        measured: the trials that the best setting is measured by.
    """

    cell: Row
    best: Tried
    tried: list[Tried]
    measured: list[Experiment]

    @property
    def edges(self) -> dict[str, str]:
        """The settings whose best value lies at an end of what might have been tried, with the end."""
        ends = {column: choice.edge(self.best.values[column]) for column, choice in choices_of(self.cell).items()}
        return {column: end for column, end in ends.items() if end}


@dataclass(frozen=True, kw_only=True)
class Stage:
    """Trials of a study that can train before anything else is chosen.

    Attributes:
        name: `tuning`, `tuning, round 2 of 4` or `measuring`; empty where a study chooses nothing.
        trials: those that are known.
        to_come: stand-ins for those that are not, for their settings are not chosen yet: as many, of the same sizes.
    """

    name: str
    trials: list[Experiment] = field(default_factory=list)
    to_come: list[Experiment] = field(default_factory=list)


class Plan(Protocol):
    """What is asked of a study (`study.spec.StudySpec`)."""

    @property
    def tune(self) -> Tune | None:
        """How it chooses."""

    def cells(self) -> list[Row]:
        """Its variants at each value of each axis."""

    def measured(self, row: Row) -> list[Experiment]:
        """The measured trials with these settings, one for each seed."""

    def tuning(self, row: Row) -> list[Experiment]:
        """The tuning trials with these settings, one for each tuning seed."""


def stages(plan: Plan, score: Score | None = None) -> tuple[list[Stage], list[Found]]:
    """A study's trials, in the order in which they can be known, and what has been chosen.

    Args:
        plan: the study.
        score: what is known of trials; None where nothing is, and Optuna need not be asked.

    Raises:
        StudyError: a combination is impossible.
    """
    cells, tune = plan.cells(), plan.tune
    if tune is None:
        return [Stage(name="", trials=[trial for cell in cells for trial in plan.measured(cell)])], []
    tuned = [_Cell(cell, plan, is_known=score is not None or tune.search != "optuna") for cell in cells]
    rounds, sizes = [], tune.sizes
    for number, size in enumerate(sizes):
        name = "tuning" if len(sizes) == 1 else f"tuning, round {number + 1} of {len(sizes)}"
        stage = Stage(name=name)
        for cell in tuned:
            cell.ask(size, stage)
        scores = score(stage.trials) if score else [None] * len(stage.trials)
        for cell in tuned:
            cell.tell(dict(zip(stage.trials, scores, strict=True)))
        rounds.append(stage)
    last, found = Stage(name="measuring"), []
    for cell in tuned:
        if (best := cell.found()) is not None:
            found.append(best)
        cell.measure(last)
    return [*rounds, last], found


class _Cell:
    """One cell on its way."""

    def __init__(self, settings: Row, plan: Plan, *, is_known: bool) -> None:
        self.settings, self.plan, self.choices = settings, plan, choices_of(settings)
        self.searcher: Searcher | None = None
        if self.choices and plan.tune:
            self.searcher = _searcher(plan.tune, self.choices) if is_known else Listed([])
        self.tried: list[Tried] = []
        self.asked: list[tuple[Row, list[Experiment]]] = []
        self.is_known = is_known  # whether all that was asked for has its accuracy

    def ask(self, number: int, stage: Stage) -> None:
        """Put the next combinations' trials into the stage, or stand-ins where what they follow from is not known."""
        self.asked = []
        if not self.searcher or not self.plan.tune:
            return
        if not self.is_known:
            values = random_combinations(self.choices, number)
            stage.to_come.extend(trial for row in values for trial in self.plan.tuning({**self.settings, **row}))
            return
        self.asked = [(row, self.plan.tuning({**self.settings, **row})) for row in self.searcher.ask(number)]
        stage.trials.extend(trial for _, trials in self.asked for trial in trials)

    def tell(self, scores: Mapping[Experiment, float | None]) -> None:
        """Take the accuracies of what was asked for last."""
        found = [[scores[trial] for trial in trials] for _, trials in self.asked]
        known = [[score for score in of_row if score is not None] for of_row in found]
        self.is_known = self.is_known and list(map(len, known)) == list(map(len, found))
        if self.searcher and self.asked and self.is_known:
            means = [sum(of_row) / len(of_row) for of_row in known]
            self.searcher.tell(means)
            self.tried += [
                Tried(values=row, trials=trials, accuracy=mean)
                for (row, trials), mean in zip(self.asked, means, strict=True)
            ]

    def found(self) -> Found | None:
        """What is best, once everything was tried; None before, and where nothing is chosen."""
        if not self.searcher or not self.is_known:
            return None
        best = max(self.tried, key=lambda tried: tried.accuracy)  # the first of equals
        measured = self.plan.measured({**self.settings, **best.values})
        return Found(cell=self.settings, best=best, tried=self.tried, measured=measured)

    def measure(self, stage: Stage) -> None:
        """Put the measured trials into the stage, or stand-ins."""
        if not self.searcher:
            stage.trials.extend(self.plan.measured(self.settings))
        elif (found := self.found()) is not None:
            stage.trials.extend(found.measured)
        else:
            stage.to_come.extend(self.plan.measured(settled(self.settings)))


def _searcher(tune: Tune, choices: Mapping[str, Choice]) -> Searcher:
    """What proposes a cell's settings; where a search may try as many combinations as there are, it tries each."""
    is_listed = not any(choice.is_range for choice in choices.values())
    number = prod(len(choice.values) for choice in choices.values()) if is_listed else math.inf
    if tune.trials is None or number <= tune.trials:
        return Listed(every_combination(choices))
    if tune.search == "random":
        return Listed(random_combinations(choices, tune.trials))
    from study.tune import OptunaSearcher  # imports Ray, which takes seconds

    return OptunaSearcher(choices, startup=tune.sizes[0])

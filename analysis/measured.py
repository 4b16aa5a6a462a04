"""One experiment, as figures need it: measurements, roles of settings, and the trials that diverged."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import pandas as pd

from analysis.labels import labelled_settings
from analysis.roles import Roles, said
from analysis.store import relabelled
from analysis.tables import best_lr, first_task, settings_of


@dataclass(frozen=True)
class Measured:
    """The measurements of one experiment. What several figures need of them is computed once.

    Attributes:
        evals: as in `analysis.store.StoredTrials`, with a column for every setting that has a role.
        trials: as in `analysis.store.StoredTrials`; they have what evals lack, such as sizes in bytes.
        curves: as in `analysis.store.StoredTrials`, of these trials or of more.
        predictions: likewise.
        roles: how figures show settings.
        diverged: the trials that diverged, with the columns of evals.
        where: the settings that tell this experiment from the store's others, with their values here.
        unsaid: settings that labels leave out, though they vary.
        with_bounds: whether published bounds are drawn beside what was measured (`analysis.bounds`).
    """

    evals: pd.DataFrame
    trials: pd.DataFrame = field(default_factory=pd.DataFrame)
    curves: pd.DataFrame = field(default_factory=pd.DataFrame)
    predictions: pd.DataFrame = field(default_factory=pd.DataFrame)
    roles: Roles = field(default_factory=Roles)
    diverged: pd.DataFrame = field(default_factory=pd.DataFrame)
    where: Mapping[str, Any] = field(default_factory=dict)
    unsaid: tuple[str, ...] = ()
    with_bounds: bool = False

    @cached_property
    def settings(self) -> list[str]:
        """The settings that tell the curves of all figures apart: not the width where it follows from bytes."""
        shown = [name for name in (*self.roles.settings, *self.roles.x) if name in self.evals]
        return list(dict.fromkeys(["context", *(["width"] if "max_bytes" not in shown else []), *shown]))

    @cached_property
    def best_lr(self) -> pd.DataFrame:
        """The evals of each curve's best learning rate; all of them where the learning rate is shown."""
        if "lr" in self.settings:
            return self.evals
        return best_lr(self.evals, self.settings, with_chance(self.diverged))

    def beside(self, frame: pd.DataFrame) -> pd.DataFrame:
        """A table of trials, with columns for `settings`."""
        missing = [name for name in self.settings if name not in frame]
        if not missing:
            return frame
        return frame.merge(settings_of(self.evals, missing), on="trial_id", how="left")

    def against(self, x: str) -> "Measured":
        """The experiment for figures that run over x: labels leave x out."""
        roles = self.roles.against(x)
        measured = replace(self, roles=replace(roles, x=(x,)))
        return relabel(measured, [x]) if x in labelled_settings(self.trials) else measured

    def titled(self, title: str) -> str:
        """A title, with the settings `where`, and with what was measured if that was no test image."""
        where = [said(setting, value) for setting, value in self.where.items()]
        where += ["measured on validation images"] * self.is_validated
        return f"{title}\n{', '.join(where)}" if where else title

    @property
    def is_validated(self) -> bool:
        """Whether validation images were measured, and not test images (`analysis.store.StoredTrials.validated`)."""
        return "eval_on" in self.evals and bool((self.evals["eval_on"] == "validation").all())

    @cached_property
    def single_task(self) -> pd.DataFrame:
        """Each trial's accuracy with one task stored, R[0, 0]: columns as of `first_task`."""
        frame = first_task(self.best_lr)
        return self.beside(frame[frame["tasks_seen"] == 1])

    @property
    def chance(self) -> float | None:
        """The accuracy of guessing, where it is known and the same for all trials."""
        values = chance(settings_of(self.evals, ["num_labels"])).unique()
        return float(values[0]) if len(values) == 1 and values[0] == values[0] else None


def relabel(measured: Measured, unsaid: Collection[str]) -> Measured:
    """The experiment with labels that leave these settings out. The settings become columns of evals."""
    unsaid = list(dict.fromkeys([*measured.unsaid, *unsaid]))
    columns = [*unsaid, "context"]
    there = [*measured.evals["trial_id"].unique(), *(measured.diverged["trial_id"] if len(measured.diverged) else [])]
    trials = measured.trials[measured.trials["trial_id"].isin(there)]
    trials = trials.assign(context=relabelled(trials, unsaid)["context"]).set_index("trial_id")[columns]
    evals = measured.evals.drop(columns=[name for name in columns if name in measured.evals])
    ids = evals["trial_id"].astype("category").cat
    rows = trials.reindex(ids.categories)
    for name in columns:
        values = rows[name] if rows[name].dtype.kind in "biuf" else rows[name].astype("category")
        evals[name] = values.array.take(ids.codes)
    diverged = measured.diverged
    if not diverged.empty:
        diverged = diverged.drop(columns=[name for name in columns if name in diverged])
        diverged = diverged.merge(trials, left_on="trial_id", right_index=True)
    return replace(measured, evals=evals, diverged=diverged, unsaid=tuple(unsaid))


def chance(trials: pd.DataFrame) -> "pd.Series[float]":
    """Each trial's accuracy of guessing: one over the number of a task's labels; NaN where that is not known."""
    return 1 / trials["num_labels"].astype(float)


def with_chance(diverged: pd.DataFrame) -> pd.DataFrame:
    """The trials that diverged, with the accuracy of guessing as `chance`; 0 where it is not known."""
    return diverged if diverged.empty else diverged.assign(chance=chance(diverged).fillna(0))

"""Chooses which setting of a study is a figure's x, colour, dashes or panels."""

import difflib
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final

import pandas as pd

from analysis.experiments import of_curves
from analysis.labels import CONTEXTS
from analysis.several_stores import told_by_store
from analysis.store import StoreError

ROLES: Final = ("x", "hue", "dashes", "panel")
MOST_DASHES: Final = 4
MOST_CURVES: Final = 12
NAMES: Final = {
    "context": "",
    "source": "",
    "stream_tasks": "number of tasks",
    "steps_per_task": "steps a task",
    "num_cycles": "cycles",
    "max_bytes": "bytes at most",
}
ALIASES: Final = {"num_tasks": "stream_tasks", "curve": "context"}


@dataclass(frozen=True, kw_only=True)
class Roles:
    """The settings that figures show, and how.

    Attributes:
        x: the settings that figures run over: one setting, one figure. In other figures they have another role.
        hue: the setting shown by colour and marker, and by dashes where no setting has these.
        dashes: the setting shown by dashes.
        panel: the setting with a panel for each value.
        is_chosen: whether the user asked for x.
        every: the values that settings have in the whole store, drawn or not. Each has a look of its own.
    """

    x: tuple[str, ...] = ("width",)
    hue: str = "context"
    dashes: str | None = None
    panel: str | None = "width"
    is_chosen: bool = False
    every: Mapping[str, Collection[Any]] = field(default_factory=dict, compare=False)

    @property
    def settings(self) -> list[str]:
        """The settings that tell a figure's curves and panels apart."""
        return [setting for setting in (self.panel, self.hue, self.dashes) if setting is not None]

    def against(self, x: str) -> "Roles":
        """The roles of the other settings in a figure that runs over x."""
        if x == self.panel:
            return replace(self, panel=self.dashes, dashes=None)
        if x == self.dashes:
            return replace(self, dashes=None)
        if x == self.hue:
            return replace(self, hue=self.dashes or "context", dashes=None)
        return self


def name_of(setting: str) -> str:
    """What figures call a setting."""
    return NAMES.get(setting, setting.replace("_", " "))


def text_of(value: object) -> str:
    """What figures call a value. A null is called `default`: the trial does not set, or does not have, the setting."""
    if is_number(value):
        return f"{value:g}" if abs(float(str(value))) < 1e6 else f"{value:,.0f}"
    return "default" if value is None or value is pd.NaT or value != value else str(value)


def exact_text_of(value: object) -> str:
    """What file names call a value. No two values have the same text."""
    text = text_of(value)
    return text if not is_number(value) or float(text.replace(",", "")) == value else str(value)


def said(setting: str, value: object) -> str:
    """A setting with its value: `depth 3`; for contexts the value alone."""
    return f"{name_of(setting)} {text_of(value)}".strip()


def is_number(value: object) -> bool:
    """Whether a setting's value is a number."""
    return isinstance(value, int | float) and not isinstance(value, bool) and value == value


def in_order(values: Collection[Any]) -> list[Any]:
    """Numbers by size, then contexts as in legends, then other names by the alphabet."""
    known = {name: index for index, name in enumerate(CONTEXTS)}
    return sorted(values, key=lambda v: (0, v, "") if is_number(v) else (1, known.get(v, len(known)), str(v)))


def values_of(trials: pd.DataFrame, setting: str) -> list[Any]:
    """A setting's values in these trials, None in place of NaN."""
    return in_order([None if pd.isna(value) else value for value in trials[setting].unique().tolist()])


def varying(trials: pd.DataFrame, settings: Sequence[str]) -> list[str]:
    """The settings that vary and do not belong to the curves: first those with names for values, then numbers."""
    known = [*of_curves(trials, settings), *_told_by_bytes(trials, settings), *told_by_store(trials, settings)]
    found = [setting for setting in settings if setting not in known and len(values_of(trials, setting)) > 1]
    numbers = [setting for setting in found if all(map(is_number, values_of(trials, setting)))]
    return [setting for setting in found if setting not in numbers] + numbers


def _told_by_bytes(trials: pd.DataFrame, settings: Sequence[str]) -> list[str]:
    """The width, where it follows from the bytes that each curve may take (`max_bytes`)."""
    if not {"width", "max_bytes"} <= {*settings}:
        return []
    curves = trials.groupby(["context", "max_bytes"], dropna=False, observed=True)["width"]
    return ["width"] if trials["max_bytes"].notna().all() and (curves.nunique() == 1).all() else []


def runs_over(trials: pd.DataFrame, setting: str, others: Sequence[str]) -> bool:
    """Whether trials that are alike in `others` have several numbers in this setting."""
    some = trials[trials[setting].map(is_number)]
    return bool(some.groupby(list(others), dropna=False, observed=True)[setting].nunique().max() > 1)


def choose(
    trials: pd.DataFrame, settings: Sequence[str], asked: Mapping[str, str], labelled: Collection[str] = ()
) -> Roles:
    """The roles for these trials: as asked; else as suits the settings that vary.

    Args:
        trials: a row for each trial, with all settings. `context` is a label without the settings asked for.
        settings: the settings that tell curves and experiments apart.
        asked: a setting for some of ROLES.
        labelled: settings that labels speak of and that could be an x.
    """
    x = asked.get("x")
    taken = (asked.get("dashes"), asked.get("panel"))
    rest = [setting for setting in varying(trials, settings) if setting not in taken]
    hue = asked.get("hue") or next(iter([*(setting for setting in rest if setting != x), *rest]), "context")
    rest = [setting for setting in rest if setting != hue]
    numbers = [setting for setting in rest if all(map(is_number, values_of(trials, setting)))]
    panel = asked.get("panel") or (x if x in rest else next(iter([*numbers, *rest]), None))
    rest = [setting for setting in rest if setting != panel]
    dashes = asked.get("dashes")
    for setting in rest if dashes is None else ():
        looks, hues = (len(values_of(trials, name)) for name in (setting, hue))
        if looks <= MOST_DASHES and looks * hues <= MOST_CURVES:
            dashes = setting
            break
    roles = Roles(hue=hue, dashes=dashes, panel=panel)
    if x:
        return replace(roles, x=(x,), is_chosen=True)
    others = [setting for setting in settings if setting not in _told_by_bytes(trials, settings)]
    candidates = [s for s in roles.settings if runs_over(trials, s, [other for other in others if other != s])]
    return replace(roles, x=tuple(dict.fromkeys([*candidates, *labelled])))


def check_names(known: pd.DataFrame, chosen: Mapping[str, str | None], stored: pd.DataFrame) -> dict[str, str]:
    """The settings asked for, by role, under their own names.

    Args:
        known: a row for each trial: columns are the settings that could have a role.
        chosen: a setting for some of ROLES.
        stored: the trials with all columns of the store.

    Raises:
        StoreError: a setting is unknown, does not vary, or has two roles. The message names settings that vary.
    """
    asked = {role: ALIASES.get(name, name) for role, name in chosen.items() if name and name != "none"}
    vary = [name for name in map(str, known) if name != "trial_id" and len(values_of(known, name)) > 1]
    listed = f"What varies here: {', '.join(vary) or 'nothing'}."
    for role, name in asked.items():
        if name in vary:
            continue
        if name in known or (name in stored and stored[name].astype(str).nunique() == 1):
            value = text_of((known if name in known else stored)[name].iloc[0])
            raise StoreError(f"--{role} {name} has nothing to show: it is {value} in every trial. {listed}")
        near = difflib.get_close_matches(name, map(str, [*known, *stored]), 1)
        raise StoreError(f"--{role} {name} is no setting{f'; {near[0]} is' if near else ''}. {listed}")
    shown = [name for role, name in asked.items() if role != "x"]
    for name in shown:
        if shown.count(name) > 1:
            raise StoreError(f"{name} cannot be two of hue, dashes and panel; leave one out. {listed}")
    return asked

"""The report's table of trials, and its table of costs."""

from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import pandas as pd

from analysis.experiments import settings_shown
from analysis.report.shown import Shown
from analysis.roles import name_of, text_of
from analysis.summary import Summary
from analysis.table_text import NAMES, summary_columns
from analysis.tables import THRESHOLD, capacity_bounds, final_accuracy
from analysis.transfer import forgetting

LAST: Final = ("kept_bytes", "seconds", "steps_per_second", "device")
KINDS: Final = {"kept_bytes": "bytes", "seconds": "seconds", "device": "text"}
TEXTS: Final = {
    "accuracy": "Mean accuracy over all tasks after the last one.",
    "forgetting": "A task's best accuracy before the end, less its accuracy in the end, mean over tasks.",
    "capacity": f"The most tasks with a mean accuracy of {THRESHOLD:.0%} of a single task's; at least so many, if all.",
    "bytes kept": "All that must be kept to answer every task and to go on learning.",
}


@dataclass(frozen=True, kw_only=True)
class Column:
    """A column of the table.

    Attributes:
        title: its head.
        kind: text, number, percent, bytes or seconds.
        text: what it means.
    """

    title: str
    kind: str
    text: str = ""


def table_of_trials(shown: Shown) -> tuple[list[Column], list[list[Any]]]:
    """A row for each trial, in the order of their numbers in the page."""
    trials, evals = shown.trials, shown.measured.evals
    columns: list[tuple[Column, list[Any]]] = [(Column(title="curve", kind="text"), trials["curve"].tolist())]
    columns.append((Column(title="status", kind="text"), trials["status"].tolist()))
    for name in _settings(shown):
        values = [None if pd.isna(value) else value for value in trials[name]]
        is_text = any(isinstance(value, str | bool | np.bool_) for value in values)
        columns.append((Column(title=name_of(name), kind="text" if is_text else "number"), list(map(_plain, values))))
    for name, of_trial in _outcomes(shown, evals).items():
        found = [_plain(value) for value in trials["trial_id"].map(of_trial)]
        kind = "number" if name == "capacity" else "percent"
        if any(value is not None for value in found):
            columns.append((Column(title=name, kind=kind, text=TEXTS.get(name, "")), found))
    for name in LAST:
        if name in trials and trials[name].notna().any() and (name != "device" or trials[name].nunique() > 1):
            title = NAMES.get(name, name_of(name))
            columns.append(
                (
                    Column(title=title, kind=KINDS.get(name, "number"), text=TEXTS.get(title, "")),
                    list(map(_plain, trials[name])),
                )
            )
    columns.append((Column(title="trial", kind="text"), trials["trial_id"].tolist()))
    if trials["error"].notna().any() if "error" in trials else False:
        errors = [
            str(value).strip().splitlines()[-1][:160] if value and not pd.isna(value) else None
            for value in trials["error"]
        ]
        columns.append((Column(title="error", kind="text"), errors))
    return [column for column, _ in columns], [
        list(row) for row in zip(*(values for _, values in columns), strict=True)
    ]


def _settings(shown: Shown) -> list[str]:
    """The settings that vary, then what every trial has."""
    trials = shown.trials
    evals = shown.measured.evals
    names = settings_shown(evals) if len(evals) else ["context", "width", *shown.apart]
    varying = [
        name
        for name in names
        if name in trials
        and name not in ("context", "source", "stream_tasks")
        and trials[name].astype(str).nunique() > 1
    ]
    rest = [name for name in ("width", "lr", "seed", "num_tasks") if name in trials and trials[name].notna().any()]
    return list(dict.fromkeys([*varying, *rest]))


def _outcomes(shown: Shown, evals: pd.DataFrame) -> dict[str, "pd.Series[Any]"]:
    trials = shown.trials.set_index("trial_id")
    final = trials.get("final_accuracy", pd.Series(np.nan, index=trials.index)).astype(float)
    if len(evals):
        final = final_accuracy(evals).set_index("trial_id")["accuracy"].reindex(trials.index).fillna(final)
    found: dict[str, pd.Series[Any]] = {"accuracy": final}
    if len(evals) and len(once := evals[evals["num_cycles"] == 1]):
        bounds = capacity_bounds(once, THRESHOLD).set_index("trial_id")["at_least"]
        found |= {"forgetting": forgetting(once).set_index("trial_id")["forgetting"], "capacity": bounds}
    return found


def _plain(value: Any) -> Any:  # noqa: ANN401 - any cell's
    """A value as JSON has it: numbers of seven digits."""
    if value is None or value is pd.NaT or (isinstance(value, float | np.floating) and not np.isfinite(value)):
        return None
    if isinstance(value, bool | np.bool_ | str):
        return str(value) if not isinstance(value, str) else value
    if isinstance(value, int | np.integer):
        return int(value)
    return float(f"{value:.7g}")


def tables_of(summary: Summary) -> tuple[dict[str, list[str]], dict[str, list[str]]]:
    """The columns of `psp table`: of results, and of costs."""
    columns = summary_columns(summary)
    costs = {NAMES.get(name, name_of(name)) for name in summary.costs}
    first = [name for name in columns if name in {NAMES.get(setting, name_of(setting)) for setting in summary.settings}]
    results = {name: cells for name, cells in columns.items() if name not in costs}
    paid = {name: columns[name] for name in [*first, *(name for name in columns if name in costs)]}
    return results, paid if len(paid) > len(first) else {}


def cost_sentence(shown: Shown) -> str:
    """What the whole store cost."""
    trials = shown.store.trials
    seconds = float(trials["seconds"].sum()) if "seconds" in trials else 0.0
    devices = trials["device"].dropna().unique().tolist() if "device" in trials else []
    text = f"{len(trials)} trial{'s' if len(trials) != 1 else ''}"
    if seconds:
        text += f" trained for {duration(seconds)} in all, {duration(seconds / len(trials))} each on average"
    return text + (f", on {', '.join(map(text_of, devices))}." if devices else ".")


def duration(seconds: float) -> str:
    """`3.2 s`, `12 min`, `4.1 h`."""
    for size, unit in ((86_400, "days"), (3_600, "h"), (60, "min")):
        if seconds >= 2 * size:
            return f"{seconds / size:.3g} {unit}"
    return f"{seconds:.3g} s"

"""Charts of means over seeds: against the number of tasks, time, lag, and settings."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Final

import numpy as np
import pandas as pd

from analysis.measured import with_chance
from analysis.predictions import beside_measured
from analysis.report import specs
from analysis.report.chart import Chart, palette, short
from analysis.report.shown import Shown
from analysis.report.vega import Axis
from analysis.roles import is_number, name_of
from analysis.tables import first_task, first_task_by_step, interference, mean_accuracy, over_seeds

MOST_ROWS: Final = 24_000  # of a chart: about 400 kB of the page
MOST_DOTS: Final = 2_400
FEWEST_MOMENTS: Final = 4
MOST_BOUNDS: Final = 60
COLUMNS_OF_NUMBERS: Final = 6
MOST_TOLD: Final = 8
SHARE: Final = ".0%"
TASKS: Final = Axis(column="x", title="number of tasks stored", format="d")
ACCURACY: Final = Axis(column="y", title="mean accuracy over them", format=SHARE, domain=(0, 1))


def of_capacity(shown: Shown) -> Chart | None:
    """Mean accuracy against the number of tasks."""
    evals = shown.measured.evals
    if evals["num_cycles"].max() > 1:
        return None
    frame = mean_accuracy(evals)
    if frame["tasks_seen"].nunique() < 2:
        return None
    single = frame[(frame["tasks_seen"] == 1) & frame["trial_id"].isin(shown.best)]
    levels = (
        {"one task": float(single.groupby("context", observed=True)["accuracy"].mean().max())} if len(single) else {}
    )
    return _curves(
        shown,
        frame,
        TASKS,
        ACCURACY,
        name="capacity",
        title="Capacity: how many tasks fit in one set of weights",
        note="Mean accuracy over all tasks seen so far.",
        levels=levels,
    )


def of_first_task(shown: Shown) -> Chart | None:
    """Accuracy of task 0 through time, with the tasks' boundaries."""
    evals = shown.measured.evals
    frame = first_task(evals)
    if frame["tasks_seen"].nunique() < 2:
        return None
    setup = evals.iloc[0]
    what = "accuracy at 0 degrees" if setup["stream"] == "rotating" else "accuracy on task 0"
    cycles = int(setup["num_cycles"])
    x, column, bounds = Axis(column="x", title="tasks trained", format="d"), "tasks_seen", np.array([])
    if evals["eval_every"].notna().any() or cycles > 1:
        frame, column = first_task_by_step(evals, shown.measured.curves), "step"
        x = Axis(column="x", title="optimiser steps", format=",d")
        length = float(setup["steps_per_task"]) * (1 if cycles == 1 else float(setup["num_tasks"]))
        bounds = np.arange(0, frame["step"].max() + 1, length)
    return _curves(
        shown,
        frame.rename(columns={column: "tasks_seen"}),
        x,
        Axis(column="y", title=what, format=".0%", domain=(0, 1)),
        name="first-task",
        title="Through time: what later tasks leave of the first",
        note="Upright lines: " + ("cycles of tasks." if cycles > 1 else "a new task begins.")
        if 0 < len(bounds) <= MOST_BOUNDS
        else "",
        bounds=bounds if len(bounds) <= MOST_BOUNDS else (),
    )


def of_interference(shown: Shown) -> Chart | None:
    """Accuracy lost by lag."""
    evals = shown.measured.evals
    if evals["num_cycles"].max() > 1 or (frame := interference(evals)).empty:
        return None
    return _curves(
        shown,
        frame.rename(columns={"lag": "tasks_seen", "lost": "accuracy"}),
        Axis(column="x", title="lag: tasks trained since", format="d"),
        Axis(column="y", title="accuracy lost, mean over tasks", format=".0%"),
        name="forgetting",
        title="Forgetting: accuracy lost as later tasks are trained",
        note="R[j, j] - R[j + lag, j], mean over tasks j.",
        levels={},
        has_chance=False,
    )


def of_setting(shown: Shown) -> Chart | None:
    """Final accuracy against the setting that figures run over, such as width."""
    x = next(iter(shown.roles.x), None)
    if x is None or x == "lr":
        return None
    if x not in shown.measured.evals:
        return None
    return _final(shown, x, name="by-setting", title=f"Final accuracy by {name_of(x) or 'context'}", free_of=[])


def of_lr(shown: Shown) -> Chart | None:
    """Final accuracy against the learning rate."""
    if not shown.has_rates:
        return None
    return _final(shown, "lr", name="learning-rate", title="Sensitivity to the learning rate", free_of=["lr"])


def _final(shown: Shown, x: str, *, name: str, title: str, free_of: list[str]) -> Chart | None:
    measured = shown.measured
    frame = mean_accuracy(measured.evals)
    frame = measured.beside(frame[frame["tasks_seen"] == frame["tasks_seen"].max()])
    note = "Mean accuracy over all tasks after the last one."
    if x == "lr" and not measured.diverged.empty:
        lost = with_chance(measured.diverged)
        frame = pd.concat([frame, lost[[c for c in frame if c in lost]].assign(accuracy=lost["chance"])])
        note += " A trial that diverged counts as chance."
    values = frame[x].dropna().unique().tolist()
    is_axis = len(values) > 1 and all(map(is_number, values))
    if not is_axis:
        return None
    is_log = min(values) > 0 and max(values) / min(values) > 5
    edge = [min(values) / 1.15, max(values) * 1.15] if is_log else None
    axis = Axis(column="x", title=name_of(x), format="~r" if x == "lr" else "", scale="log" if is_log else "linear",
                values=sorted(values) if len(values) < 10 else None, domain=edge)  # fmt: skip
    frame = frame.assign(tasks_seen=frame[x].astype(float))
    of_panel = x == shown.roles.panel
    return _curves(
        shown, frame, axis, Axis(column="y", title="final mean accuracy", format=".0%", domain=(0, 1)),
        name=name, title=title, note=note, free_of=free_of, has_panels=not of_panel, along=x,
    )  # fmt: skip


def of_predictions(shown: Shown) -> Chart | None:
    """Predicted beside measured accuracy."""
    frame = beside_measured(shown.measured)
    if frame.empty or frame["source"].nunique() < 2:
        return None
    sources = frame["source"].unique().tolist()
    dashes = {name: [[1, 0], [6, 3], [2, 3], [8, 3, 2, 3]][place % 4] for place, name in enumerate(sources)}
    usual = palette(shown)
    pal = replace(usual, dashes=dashes, dashed="source", tips={**usual.tips, "source": "what"})
    x = Axis(column="x", title="number of tasks stored", format="d", scale="log")
    spec = specs.curves(x, ACCURACY, pal)
    for layer in spec["layer"]:
        if "transform" in layer and "aggregate" in layer["transform"][0]:
            layer["transform"][0]["groupby"].append("source")
            layer["encoding"]["detail"] = [{"field": "series"}, {"field": "source"}]
        if "strokeDash" in layer["encoding"]:
            layer["encoding"]["strokeDash"] = {**pal.dash, "legend": {"orient": "top", "title": None}}
    numbers = shown.numbers
    rows = [
        [numbers[str(trial)], seen, short(accuracy), source, 1, seen]
        for trial, seen, accuracy, source in frame[["trial_id", "tasks_seen", "accuracy", "source"]].itertuples(
            index=False
        )
    ]
    return Chart(
        name="predictions",
        title="Accuracy as theory predicts it, beside the measured one",
        note="Dashes: what is measured, and each theory.",
        alt="Mean accuracy against the number of tasks, measured and predicted.",
        spec=spec,
        columns=["x", "y", "source", "p", "nth"],
        rows=rows,
    )


def _curves(
    shown: Shown,
    frame: pd.DataFrame,
    x: Axis,
    y: Axis,
    *,
    name: str,
    title: str,
    note: str = "",
    levels: Mapping[str, float] | None = None,
    bounds: Sequence[float] | np.ndarray = (),
    free_of: Sequence[str] = (),
    has_panels: bool = True,
    has_chance: bool = True,
    along: str = "",
) -> Chart:
    """A chart of means over seeds.

    Args:
        shown: the store.
        frame: columns trial_id, tasks_seen (the x) and accuracy (the y).
        x: the horizontal axis.
        y: the vertical axis.
        name: of the chart.
        title: its heading.
        note: its first sentences.
        levels: heights of dotted lines, by name.
        bounds: places of upright lines.
        free_of: facets by which rows are not chosen.
        has_panels: whether there are panels.
        has_chance: whether the accuracy of guessing is a level.
        along: the setting that is the x; empty where x is no setting.
    """
    whole = frame
    frame, every = _thinned(frame)
    numbers = shown.numbers
    dotted = _dotted(frame)
    rows = [
        [numbers[str(trial)], short(at), short(accuracy), int(at in dotted), short(at)]
        for trial, at, accuracy in frame[["trial_id", "tasks_seen", "accuracy"]].itertuples(index=False)
    ]
    chance = shown.measured.chance
    levels = {**({"chance": chance} if chance and has_chance else {}), **(levels or {})}
    notes = [note, "Lines: means over seeds; bands: their 95% intervals (Student's t). Points: trials."]
    if every > 1:
        notes.append(f"One of {every} moments is drawn.")
    best = whole if free_of else whole[whole["trial_id"].isin(shown.best)]
    table = _numbers(shown, best, x, along)
    return Chart(
        name=name,
        title=title,
        note=" ".join(filter(None, notes)),
        alt=_alt(title, x, y, table),
        spec=specs.curves(x, y, palette(shown), levels, list(bounds)),
        columns=["x", "y", "p", "nth"],
        rows=rows,
        free_of=free_of,
        numbers=table,
        has_panels=has_panels,
        series=shown.series_but(along) if along else None,
    )


def _thinned(frame: pd.DataFrame) -> tuple[pd.DataFrame, int]:
    """The rows, of so many moments that there are at most MOST_ROWS; and which share of moments is left."""
    moments = np.unique(frame["tasks_seen"])
    every = min(-(-len(frame) // MOST_ROWS), max(1, len(moments) // FEWEST_MOMENTS))
    if every <= 1:
        return frame, 1
    return frame[frame["tasks_seen"].isin([*moments[:3], *moments[::every], moments[-1]])], every


def _dotted(frame: pd.DataFrame) -> set[float]:
    """The moments at which trials have points."""
    moments = np.unique(frame["tasks_seen"])
    number = max(4, int(MOST_DOTS / max(1, frame["trial_id"].nunique())))
    if len(moments) <= number:
        return set(moments.tolist())
    return set(moments[np.unique(np.linspace(0, len(moments) - 1, number).round().astype(int))].tolist())


def _numbers(shown: Shown, frame: pd.DataFrame, x: Axis, along: str) -> tuple[list[str], list[list[str]]]:
    """Means and intervals at a few moments: a row for each curve, with the settings that vary but `along`."""
    told = [
        facet for facet in shown.facets if facet.role in ("hue", "style", "panel", "apart") and facet.setting != along
    ]
    keys = [facet.setting if facet.role == "apart" else facet.role for facet in told]
    of_trials = shown.trials.set_index("trial_id")[keys].loc[frame["trial_id"].tolist()].reset_index(drop=True)
    rows = of_trials.join(frame[["tasks_seen", "accuracy"]].reset_index(drop=True))
    moments = np.unique(rows["tasks_seen"])
    if len(moments) > COLUMNS_OF_NUMBERS:
        moments = moments[np.unique(np.linspace(0, len(moments) - 1, COLUMNS_OF_NUMBERS).round().astype(int))]
    means = over_seeds(rows[rows["tasks_seen"].isin(moments)], [*keys, "tasks_seen"], "accuracy")
    cells = {
        row[:-3]: row[-3:]
        for row in means[[*keys, "tasks_seen", "mean", "low", "high"]].itertuples(index=False, name=None)
    }
    order = [{value: place for place, value in enumerate(facet.values)} for facet in told]
    curves = sorted(
        rows[keys].drop_duplicates().itertuples(index=False, name=None),
        key=lambda curve: [places.get(value, 0) for places, value in zip(order, curve, strict=True)],
    )
    heads = [*(facet.name for facet in told), *map(_at, moments)]
    heads[len(told)] = f"{x.title} {heads[len(told)]}"
    return heads, [[*curve, *(_mean(cells.get((*curve, moment))) for moment in moments)] for curve in curves]


def _mean(cell: tuple[float, ...] | None) -> str:
    """`81.2 ± 0.4`, in per cent."""
    if cell is None or np.isnan(cell[0]):
        return ""
    mean, low, _ = cell
    return f"{100 * mean:.1f}" + ("" if np.isnan(low) else f" ± {100 * (mean - low):.1f}") + " %"


def _at(moment: float) -> str:
    return f"{moment:,.0f}" if float(moment).is_integer() else f"{moment:g}"


def _alt(title: str, x: Axis, y: Axis, table: tuple[list[str], list[list[str]]]) -> str:
    """The chart in words: its axes, and where its curves end."""
    heads, rows = table
    num_names = next((place for place, head in enumerate(heads) if head.startswith(x.title)), 1)
    ends = [f"{', '.join(row[:num_names])}: {row[-1]}" for row in rows if row[-1]]
    more = f"; and {len(ends) - MOST_TOLD} more" if len(ends) > MOST_TOLD else ""
    where = f" At the end: {'; '.join(ends[:MOST_TOLD])}{more}." if ends else ""
    return f"{title}. {y.title.capitalize()} against {x.title}.{where}"

"""Charts of trials as points: capacity by width with its law, accuracy by cost, crosstalk by context."""

from collections.abc import Mapping
from typing import Any, Final

import numpy as np
import pandas as pd

from analysis.figures.front_of_bytes import BYTES
from analysis.law import Law, laws
from analysis.law_text import in_brackets
from analysis.report import specs
from analysis.report.chart import Chart, palette, short
from analysis.report.shown import Shown
from analysis.report.vega import Axis
from analysis.roles import is_number, text_of
from analysis.tables import THRESHOLD, capacity_bounds, mean_accuracy

COSTS: Final = {
    "kept_bytes": "bytes kept for all tasks",
    "answer_bytes_per_task": "bytes that one more task needs",
    "train_flops": "operations to train",
    "answer_flops": "operations to answer one image",
    "seconds": "seconds of training",
}


def of_law(shown: Shown) -> Chart | None:
    """Capacity against width, and its fitted law."""
    evals = shown.measured.evals
    if evals["num_cycles"].max() > 1 or "width" not in shown.roles.x:
        return None
    measured = shown.measured.against("width")
    found = laws(measured, THRESHOLD)
    if not any(len(law.widths) > 1 for law in found):
        return None
    frame = capacity_bounds(evals, THRESHOLD)
    frame = frame[frame["width"].map(is_number)]
    widths, most = sorted(frame["width"].unique().tolist()), float(frame["num_tasks"].max())
    hues = list(shown.looks)
    numbers, hue = shown.numbers, shown.trials["hue"].tolist()
    rows = []
    for trial, width, least, below in frame[["trial_id", "width", "at_least", "below"]].itertuples(index=False):
        number = numbers[trial]
        shift = (
            (widths[-1] / widths[0]) ** (0.014 * (hues.index(hue[number]) - (len(hues) - 1) / 2))
            if hue[number] in hues
            else 1
        )
        rows.append([number, short(width * shift), least, int(np.isinf(below)), 1, 0])
    law_rows = []
    for law in found:
        trial = _trial_of(shown, law.curve)
        if law.is_fitted and trial is not None:
            for width in np.geomspace(law.widths[0], law.widths[-1], 25):
                one = law.tasks(width)
                ends = [one.value if np.isnan(end) else end for end in (one.low, one.high)]
                law_rows.append([trial, *map(short, (width, one.value, *ends))])
    edge = (max(widths) / min(widths)) ** 0.08
    x = Axis(
        column="x",
        title="width",
        scale="log",
        values=widths,
        domain=(min(widths) / edge, max(widths) * edge),
        format="~r",
    )
    marks = [tick for tick in (1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000) if tick <= most * 1.25]
    y = Axis(column="y", title="capacity (tasks)", scale="log", values=marks, domain=(0.8, most * 1.4), format="~r")
    heads = ["curve", *(f"width {text_of(width)}" for width in widths), "law"]
    told = [[law.name, *(_capacities(law.trials, width) for width in widths), _law_text(law)] for law in found]
    return Chart(
        name="law",
        title=f"Capacity by width: tasks that keep {THRESHOLD:.0%} of a single task's accuracy",
        note="Points: trials; open: at least so many, for all its tasks were kept. Lines: K = a width^b, fitted to all "
        "seeds; bands: 95% intervals by resampling seeds.",
        alt=f"Capacity in tasks against width, {len(found)} curves; "
        + "; ".join(f"{row[0]}: {row[-1]}" for row in told)
        + ".",
        spec=specs.laws(x, y, palette(shown)),
        columns=["x", "y", "open", "p", "nth"],
        rows=rows,
        law=law_rows,
        law_columns=["width", "value", "low", "high"],
        numbers=(heads, told),
        has_panels=shown.roles.panel != "width",
        series=shown.series_but("width"),
    )


def _capacities(trials: pd.DataFrame, width: float) -> str:
    """`12 to 15` over a width's seeds, `≥` where one kept all its tasks."""
    some = trials[trials["width"] == width]
    if some.empty:
        return ""
    low, high = some["at_least"].min(), some["at_least"].max()
    text = f"{low}" if low == high else f"{low} to {high}"
    return f"≥ {text}" if np.isinf(some["below"]).any() else text


def _law_text(law: Law) -> str:
    return f"width^{in_brackets(law.exponent, '.2f')}" if law.is_fitted else f"no law: {law.reason}"


def _trial_of(shown: Shown, curve: Mapping[str, Any]) -> int | None:
    """The number of some trial of a curve."""
    evals = shown.measured.evals
    some = evals
    for name, value in curve.items():
        some = some[some[name].isna() if value is None else some[name] == value]
    some = some[some["trial_id"].isin(shown.best)]
    return shown.numbers[str(some["trial_id"].iloc[0])] if len(some) else None


def of_costs(shown: Shown) -> Chart | None:
    """Final accuracy against what it costs."""
    trials = shown.trials
    known = {
        name: title
        for name, title in COSTS.items()
        if name in trials and trials[name].notna().any() and trials[name].max() > 0
    }
    frame = mean_accuracy(shown.measured.evals)
    seen = frame.groupby("trial_id")["tasks_seen"].transform("max").min()
    frame = frame[frame["tasks_seen"] == seen]
    if not known or frame.empty:
        return None
    costs = trials.set_index("trial_id")[list(known)].astype(float)
    if {"kept_bytes", *BYTES.columns} <= {*trials}:  # as they were after so many tasks
        priced = trials.set_index("trial_id").loc[frame["trial_id"], ["num_tasks", *BYTES.columns]].astype(float)
        costs.loc[frame["trial_id"], "kept_bytes"] = BYTES.of(priced.assign(tasks_seen=seen)).to_numpy()
    numbers = shown.numbers
    rows = [
        [numbers[str(trial)], *(short(value) for value in costs.loc[trial]), short(accuracy), 1, 0]
        for trial, accuracy in frame[["trial_id", "accuracy"]].itertuples(index=False)
    ]
    x = Axis(column="x", title="", format="~s", scale="log")
    return Chart(
        name="by-cost",
        title=f"What accuracy costs, after {seen:g} task{'s' if seen > 1 else ''}",
        note="Grey: the means that nothing drawn beats for less.",
        alt=f"Mean accuracy of {len(rows)} trials against {', '.join(known.values())}; the table of costs has numbers.",
        spec=specs.front(x, Axis(column="y", title="mean accuracy", format=".0%", domain=(0, 1)), palette(shown)),
        columns=[*known, "y", "p", "nth"],
        rows=rows,
        choices=known,
        has_panels=False,
    )


def of_crosstalk(shown: Shown) -> Chart | None:
    """Crosstalk of retrieved models, by context."""
    frame = shown.store.crosstalk
    if frame.empty:
        return None
    scale = frame["width"] / (frame["num_models"] - 1)
    numbers = shown.numbers
    rows = [
        [numbers[str(trial)], *map(short, (measured, predicted)), int(models), 1, int(models)]
        for trial, measured, predicted, models in zip(
            frame["trial_id"],
            scale * frame["second_moment"],
            scale * frame["predicted"],
            frame["num_models"],
            strict=True,
        )
    ]
    x = Axis(column="x", title="crosstalk · N / (K - 1)", format="~g", scale="log")
    y = Axis(column="hue", title="", scale="names")
    tip = palette(shown).tooltip(x)
    tip.insert(-1, {"field": "num_models", "type": "nominal", "title": "models, K"})
    return Chart(
        name="crosstalk",
        title="Crosstalk on a retrieved model, by context",
        note="E |crosstalk|² over E |w|² |x|², times N / (K - 1), which is 1 for orthogonal contexts that mix all "
        "inputs. Black: as predicted.",
        alt=f"Crosstalk of {shown.store.crosstalk['context'].nunique()} contexts against theory.",
        spec=specs.crosstalk(x, y, list(shown.looks), tip),
        columns=["x", "predicted", "num_models", "p", "nth"],
        rows=rows,
    )

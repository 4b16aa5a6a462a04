"""What a store shows, in sentences whose numbers come from the tables of `psp table`."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import pandas as pd

from analysis import tables
from analysis.compare import Comparison
from analysis.experiments import of_curves, settings_shown
from analysis.law import Crossing, Law, crossings_of, laws
from analysis.law_text import in_brackets
from analysis.measured import Measured
from analysis.report.differences import between_stores, differences
from analysis.report.progress import Progress
from analysis.report.study_words import missing_lines
from analysis.report.wording import brackets, capital, listed, named, shortened
from analysis.roles import said, text_of
from analysis.several_stores import STORE
from analysis.store import StoredTrials
from analysis.summary import Summary, summarise, whole
from analysis.tables import THRESHOLD, over_seeds, settings_of

MOST_GROUPS: Final = 4


@dataclass(frozen=True)
class Finding:
    """A sentence or a few about one thing.

    Attributes:
        kind: `result`; `caution`, which limits what results say; or `missing`, what is not measured yet.
        about: the thing, in a word or two.
        text: the sentences.
        more: further ones, one a line, which a reader unfolds.
    """

    kind: str
    about: str
    text: str
    more: tuple[str, ...] = ()


def findings(
    store: StoredTrials,
    progress: Progress | None = None,
    compared: Sequence[Comparison] = (),
    summary: Summary | None = None,
) -> list[Finding]:
    """The findings of a store, the most important first.

    Args:
        store: a trial store.
        progress: what its study plans.
        compared: its trials beside published values.
        summary: of the store, where it is known already.
    """
    found: list[Finding] = []
    if not store.evals.empty:
        summary, measured = summary or summarise(store), whole(store)
        found += _capacities(summary)
        found += _differences(measured)
        found += _between_stores(measured)
        found += _laws(measured)
        found += _forgetting(summary)
        found += _rates(measured)
    if not store.crosstalk.empty:
        found += _crosstalk(store.crosstalk)
    found += _published(compared)
    found += _lost(store, progress)
    found += _seeds(store)
    found += _missing(progress)
    return found


def _groups(rows: pd.DataFrame, settings: Sequence[str]) -> list[tuple[str, pd.DataFrame]]:
    """The rows by all settings that do not belong to the curves: what they are, and the rows. Widest first.

    Of more than MOST_GROUPS groups, the first, the last and some between.
    """
    of_curve = of_curves(rows, settings)
    others = [n for n in settings if n not in ("context", *of_curve) and rows[n].nunique(dropna=False) > 1]
    if not others:
        return [("", rows)]
    groups = []
    for values, some in rows.groupby(others, dropna=False, sort=True):
        every: list[Any] = list(values)
        told = zip(others, every, strict=True)
        groups.append(("At " + ", ".join(said(name, None if pd.isna(value) else value) for name, value in told), some))
    groups.reverse()
    if len(groups) <= MOST_GROUPS:
        return groups
    places = np.unique(np.linspace(0, len(groups) - 1, MOST_GROUPS).round().astype(int))
    return [groups[place] for place in places]


def _capacities(summary: Summary) -> Iterator[Finding]:
    """Which curve holds how many tasks."""
    rows = summary.rows
    if "capacity" not in rows or rows["capacity"].isna().all():
        return
    groups = _groups(rows.dropna(subset="capacity"), summary.settings)
    lines = [f"{where}, {capacities(some)}." if where else f"{capital(capacities(some))}." for where, some in groups]
    what = f"Counted: the most tasks with a mean accuracy of {THRESHOLD:.0%} of a single task's."
    yield Finding("result", "Capacity", f"{lines[0]} {what}{brackets(lines)}", tuple(lines[1:]))


def capacities(some: pd.DataFrame) -> str:
    """How many tasks each curve keeps, the most first: `complex and binary keep all 10 tasks; none 2.3 [1, 3.8]`.

    Args:
        some: rows of `summarise`, a row for each curve.
    """
    some = some.sort_values("capacity", ascending=False, kind="stable")
    whole = some[(some["at_end"] == some["trials"]) & (some["capacity"] == some["tasks"])]
    told = []
    for tasks, alike in whole.groupby("tasks", sort=False):
        names = [named(name) for name in alike["context"]]
        kept = f"all {tasks:g} tasks" if alike["trials"].max() == 1 else f"all {tasks:g} tasks on every seed"
        told.append(f"{listed(names)} keep{'s' if len(names) == 1 else ''} {kept}, and might keep more")
    rest = some.drop(whole.index)
    told += [f"{named(row['context'])} keeps {capacity_of(row)}" for _, row in rest.iterrows()]
    return "; ".join(shortened(told))


def capacity_of(row: "pd.Series[Any]") -> str:
    """`9.3 [8.1, 10.5]`; `at least 9`, where a seed kept all; `10 to 25`, where not every number was measured."""
    mean, below = row["capacity"], row["capacity_below"]
    if row["at_end"]:
        return f"at least {mean:.3g}, for {row['at_end']:.0f} of {row['trials']:.0f} seeds kept all their tasks"
    if below - mean > 1.01:
        return f"{mean:.3g} to {below:.3g}"
    low, high = row.get("capacity_low", np.nan), row.get("capacity_high", np.nan)
    if pd.isna(low):
        return f"{mean:.3g}"
    return f"{mean:.3g} on every seed" if low == high else f"{mean:.3g} [{max(low, 1):.3g}, {high:.3g}]"


def final_accuracy(measured: Measured) -> pd.DataFrame:
    """Each trial's mean accuracy after its last task, with all settings, at each curve's best learning rate."""
    return measured.beside(tables.final_accuracy(measured.best_lr))


def _differences(measured: Measured) -> Iterator[Finding]:
    frame = final_accuracy(measured)
    if frame.empty or frame["context"].nunique() < 2:
        return
    lines = []
    tasks = sorted(frame["tasks_seen"].unique())
    after = "in the end"
    if len(tasks) == 1 and measured.evals["num_cycles"].max() == 1:
        after = f"after {tasks[0]:g} task{'s' if tasks[0] > 1 else ''}"
    for where, some in _groups(frame, measured.settings):
        if some["tasks_seen"].nunique() > 1:
            continue  # curves that have learned different numbers of tasks are not compared
        told = [str(one) for one in differences(some)]
        if told:
            text = "; ".join(told)
            lines.append(f"{where}, {text}." if where else f"{capital(text)}.")
    if lines:
        yield Finding("result", "Who is ahead", f"{lines[0]} Compared: mean accuracy {after}.", tuple(lines[1:]))


def _between_stores(measured: Measured) -> Iterator[Finding]:
    """By how much each curve differs between the first store and each other one."""
    if STORE not in measured.settings:
        return
    frame = final_accuracy(measured)
    lines = []
    for where, some in _groups(frame, [name for name in measured.settings if name != STORE]):
        if told := list(between_stores(some)):
            lines.append(f"{where or 'Here'}, {'; '.join(told)}.")
    if lines:
        what = f"{lines[0]} Compared: mean accuracy in the end, over seeds that both have.{brackets(lines)}"
        yield Finding("result", "Between the stores", what, tuple(lines[1:]))


def _laws(measured: Measured) -> Iterator[Finding]:
    found = laws(measured, THRESHOLD)
    fitted = [law for law in found if law.is_fitted]
    if not fitted:
        numbers = settings_of(measured.evals, ["width"])["width"].nunique()
        if found and numbers > 1:
            reasons: dict[str, list[str]] = {}
            for law in found:
                reasons.setdefault(law.reason, []).append(named(law.name))
            told = "; ".join(f"{', '.join(names)}: {reason}" for reason, names in reasons.items())
            yield Finding("caution", "No law", f"No law of capacity by width can be fitted: {told}.")
        return
    yield Finding("result", "Law", law_sentence(fitted), tuple(_crossings(found)))
    without = [law for law in found if not law.is_fitted]
    if without:
        told = "; ".join(shortened([f"{named(law.name)}: {law.reason}" for law in without]))
        yield Finding("caution", "No law", f"Without a law: {told}.")


def law_sentence(fitted: Sequence[Law]) -> str:
    """The exponents of the laws, with their intervals."""
    told = [f"{named(law.name)} b = {in_brackets(law.exponent, '.2f')}" for law in fitted]
    censored = sum(law.num_above for law in fitted)
    kept = f" Trials that kept all their tasks count as a lower bound: {censored}." if censored else ""
    return f"Capacity grows as width^b: {'; '.join(shortened(told))}.{brackets(told)}{kept}"


def _crossings(found: Sequence[Law]) -> Iterator[str]:
    """The crossings of curves that are alike in all other settings."""
    for one in crossings_of(found):
        upper, lower = ({**law.curve, "context": ""} for law in (one.upper, one.lower))
        if upper == lower:
            yield crossing_sentence(one)


def crossing_sentence(one: Crossing) -> str:
    """Where one law overtakes another, or by what factor it is above it."""
    more = f"{named(one.upper.name)} holds more than {named(one.lower.name)}"
    if one.width is not None and one.width.low == 0 and np.isinf(one.width.high):
        return (
            f"Which of {named(one.upper.name)} and {named(one.lower.name)} holds more is open at all widths measured."
        )
    if one.width is not None:
        return f"{more} from width {in_brackets(one.width, '.3g')} on."
    assert one.ratio is not None
    times = f"{in_brackets(one.ratio, '.3g')} times as many tasks at width {text_of(one.near)}, where they are nearest"
    return f"{more} at all widths measured: {times}."


def _forgetting(summary: Summary) -> Iterator[Finding]:
    rows = summary.rows
    if "forgetting" not in rows or rows["forgetting"].isna().all():
        return
    lines = []
    for where, some in _groups(rows.dropna(subset="forgetting"), summary.settings):
        some = some.sort_values("forgetting")
        least, most = ((named(row["context"]), _points(row, "forgetting")) for row in (some.iloc[0], some.iloc[-1]))
        text = f"{least[0]} has lost {least[1]}"
        text += f", the least; {most[0]} {most[1]}, the most" if len(some) > 1 else ""
        lines.append(f"{where}, {text}." if where else f"{capital(text)}.")
    what = f"Counted: a task's best accuracy less its last, mean over tasks.{brackets(lines)}"
    yield Finding("result", "Forgetting", f"{lines[0]} {what}", tuple(lines[1:]))


def _points(row: "pd.Series[Any]", name: str) -> str:
    low, high = row.get(f"{name}_low", np.nan), row.get(f"{name}_high", np.nan)
    interval = "" if pd.isna(low) else f" [{100 * low:.1f}, {100 * high:.1f}]"
    return f"{100 * row[name]:.1f}{interval} points"


def _rates(measured: Measured) -> Iterator[Finding]:
    """Best learning rates at an end of those that were tried."""
    if "lr" in measured.settings:
        return
    by = measured.settings
    tried = settings_of(measured.evals, [*by, "lr"]).groupby(by, dropna=False)["lr"].agg(["min", "max", "nunique"])
    rows = settings_of(measured.best_lr, [*by, "lr"]).drop_duplicates([*by, "lr"]).merge(tried.reset_index(), on=by)
    rows = rows[rows["nunique"] > 1]
    edge = rows[(rows["lr"] == rows["min"]) | (rows["lr"] == rows["max"])]
    if edge.empty:
        return
    names = [name for name in by if name == "context" or rows[name].nunique(dropna=False) > 1]
    others = [name for name in names if name != "context"]
    told = [
        f"{named(row['context'])} at {row['lr']:g}"
        + "".join(f", {said(name, None if pd.isna(row[name]) else row[name])}" for name in others)
        for _, row in edge.iterrows()
    ]
    yield Finding(
        "caution",
        "Learning rate",
        f"{len(edge)} of {len(rows)} curves do best at the lowest or highest learning rate tried, so a better rate may "
        f"lie beyond: {'; '.join(shortened(told))}.",
    )


def _crosstalk(frame: pd.DataFrame) -> Iterator[Finding]:
    """How far measured crosstalk is from theory, and which contexts have least."""
    means = frame.groupby(["context", "width", "num_models"], as_index=False)[["second_moment", "predicted"]].mean()
    known = means[means["predicted"] > 0].reset_index(drop=True)
    if len(known):
        ratio = known["second_moment"] / known["predicted"]
        far = known.iloc[int(np.abs(np.log(ratio.to_numpy(dtype=float))).argmax())]
        yield Finding(
            "result",
            "Crosstalk beside theory",
            f"Measured crosstalk is {ratio.min():.2f} to {ratio.max():.2f} times what theory predicts, over "
            f"{len(known)} combinations of context, width and number of models. Farthest: "
            f"{named(far['context'])} at width {far['width']:g} with {far['num_models']:g} models.",
        )
    scaled = means.assign(scaled=means["second_moment"] * means["width"] / (means["num_models"] - 1))
    order = scaled.groupby("context")["scaled"].mean().sort_values()
    yield Finding(
        "result",
        "Crosstalk by context",
        f"{named(order.index[0])} has the least, {order.iloc[0]:.3g}, and {named(order.index[-1])} the most, "
        f"{order.iloc[-1]:.3g}: "
        "the mean of crosstalk times N / (K - 1), which is 1 for orthogonal contexts that mix all inputs.",
    )


def _published(compared: Sequence[Comparison]) -> Iterator[Finding]:
    lines = [text for one in compared if (text := published_sentence(one))]
    if lines:
        yield Finding("result", "Beside the papers", lines[0], tuple(lines[1:]))


def published_sentence(one: Comparison) -> str:
    """How far our values are from a published figure's, and where most; empty where no value of it is known."""
    ours = over_seeds(one.ours, ["width", "context", "step"], "accuracy")
    theirs = [one.paper_at(width).assign(width=width) for width in sorted(one.ours["width"].unique())]
    paper = pd.concat(theirs)[["context", "width", "step", "value"]].dropna(subset="value")
    both = paper.merge(ours, on=["width", "context", "step"])
    if both.empty:
        return ""
    gap = both["mean"].to_numpy(dtype=float) - both["value"].to_numpy(dtype=float)
    far = both.iloc[int(np.abs(gap).argmax())]
    within = ""
    if both["low"].notna().any():
        inside = int(((both["low"] <= both["value"]) & (both["value"] <= both["high"])).sum())
        within = f", of which {inside} lie in our 95% intervals"
    unit = "tasks" if one.step_unit > 1 else "steps"
    return (
        f"{one.name}, {one.quantity}: ours are {100 * np.abs(gap).mean():.1f} points away on average from "
        f"{len(both)} published value{'s' if len(both) > 1 else ''}{within}. Farthest: {named(far['context'])} at "
        f"width {far['width']:g} after {far['step'] / one.step_unit:,.0f} {unit}, {100 * far['mean']:.1f}% here and "
        f"{100 * far['value']:.1f}% published."
    )


def _lost(store: StoredTrials, progress: Progress | None) -> Iterator[Finding]:
    """What diverged, failed or cannot be read."""
    if store.left_out:
        yield Finding("caution", "Diverged or failed", " ".join(f"{capital(text)}." for text in store.left_out))
    elif progress and progress.failed:
        yield Finding("caution", "Failed", f"{progress.failed} trials failed; psp status has their errors.")
    for text in store.damaged:
        yield Finding("caution", "Damaged", text)


def _seeds(store: StoredTrials) -> Iterator[Finding]:
    """Means without an interval."""
    if store.evals.empty:
        return
    by = [name for name in settings_shown(store.evals) if name != "stream_tasks"]
    sizes = settings_of(store.evals, [*by, "lr", "seed"]).groupby([*by, "lr"], dropna=False)["seed"].nunique()
    alone = int((sizes == 1).sum())
    if alone == len(sizes):
        yield Finding("caution", "Seeds", "There is one seed, so there are no intervals.")
    elif alone:
        yield Finding("caution", "Seeds", f"{alone} of {len(sizes)} means are of one seed, and have no interval.")


def _missing(progress: Progress | None) -> Iterator[Finding]:
    """What is planned and not measured."""
    if progress is None or progress.is_whole:
        return
    numbers = (("running", progress.running), ("failed", progress.failed), ("to do", progress.to_do))
    states = ", ".join(f"{number} {name}" for name, number in numbers if number)
    left = progress.planned - progress.done
    text = f"{left} of {progress.planned} planned trials are not measured yet: {states}."
    yield Finding("missing", "Not yet measured", text, tuple(missing_lines(progress)))

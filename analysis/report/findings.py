"""What a store shows, in sentences whose numbers come from the tables of `psp table`."""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import pandas as pd
from scipy.special import stdtrit

from analysis.compare import Comparison
from analysis.experiments import settings_shown
from analysis.law import Crossing, Estimate, Law, crossings_of, laws
from analysis.law_text import in_brackets
from analysis.measured import Measured
from analysis.report.progress import Progress
from analysis.roles import in_order, name_of, said, text_of, values_of
from analysis.store import StoredTrials
from analysis.summary import Summary, summarise, whole
from analysis.tables import mean_accuracy, over_seeds, settings_of

THRESHOLD: Final = 0.9
MOST_GROUPS: Final = 4
MOST_NAMED: Final = 6
MOST_VALUES: Final = 24


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
    store: StoredTrials, progress: Progress | None = None, compared: Sequence[Comparison] = ()
) -> list[Finding]:
    """The findings of a store, the most important first.

    Args:
        store: a trial store.
        progress: what its study plans.
        compared: its trials beside published values.
    """
    found: list[Finding] = []
    if not store.evals.empty:
        summary, measured = summarise(store, threshold=THRESHOLD), whole(store)
        found += _capacities(summary)
        found += _differences(measured)
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
    """The rows by all settings but the curve: what they are, and the rows. Widest first; of many groups some."""
    others = [name for name in settings if name != "context" and rows[name].nunique(dropna=False) > 1]
    if not others:
        return [("", rows)]
    groups = []
    for values, some in rows.groupby(others, dropna=False, sort=True):
        every: list[Any] = list(values)
        named = zip(others, every, strict=True)
        groups.append(("At " + ", ".join(said(name, None if pd.isna(value) else value) for name, value in named), some))
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
    lines = [f"{where}, {capacities(some)}." if where else f"{_capital(capacities(some))}." for where, some in groups]
    what = (
        f"Counted: the most tasks with a mean accuracy of {THRESHOLD:.0%} of a single task's. Brackets: 95% intervals."
    )
    yield Finding("result", "Capacity", f"{lines[0]} {what}", tuple(lines[1:]))


def capacities(some: pd.DataFrame) -> str:
    """How many tasks each curve keeps, the most first: `complex and binary keep all 10 tasks; none 2.3 [1, 3.8]`.

    Args:
        some: rows of `summarise`, a row for each curve.
    """
    some = some.sort_values("capacity", ascending=False, kind="stable")
    whole = some[(some["at_end"] == some["trials"]) & (some["capacity"] == some["tasks"])]
    told = []
    for tasks, alike in whole.groupby("tasks", sort=False):
        names = [text_of(name) for name in alike["context"]]
        kept = f"all {tasks:g} tasks" if alike["trials"].max() == 1 else f"all {tasks:g} tasks on every seed"
        told.append(f"{_listed(names)} keep{'s' if len(names) == 1 else ''} {kept}, and might keep more")
    rest = some.drop(whole.index)
    told += [f"{text_of(row['context'])} keeps {capacity_of(row)}" for _, row in rest.iterrows()]
    return "; ".join(_shortened(told))


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


def _listed(names: Sequence[str]) -> str:
    """`a, b and c`."""
    return " and ".join(filter(None, [", ".join(names[:-1]), names[-1]]))


def _shortened(told: Sequence[str]) -> list[str]:
    more = len(told) - MOST_NAMED
    return [*told[:MOST_NAMED], f"and {more} more"] if more > 0 else list(told)


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]


@dataclass(frozen=True)
class Difference:
    """By how much one curve's final accuracy is above another's.

    Attributes:
        one: the curve that is higher.
        other: the other one.
        by: the difference of the means, a fraction, with its 95% interval.
        pairs: over how many seeds that both have; 0 where they share none and the means are compared.
    """

    one: str
    other: str
    by: Estimate
    pairs: int

    def __str__(self) -> str:
        """A sentence without its end."""
        points = f"{100 * self.by.value:.1f} points"
        seeds = f"paired over {self.pairs} seeds"
        if np.isnan(self.by.low):
            return f"{self.one} ends {points} above {self.other} (one seed, so no interval)"
        interval = f"95% interval {100 * self.by.low:.1f} to {100 * self.by.high:.1f}; {seeds}"
        if self.by.low <= 0 <= self.by.high:
            return f"{self.one} and {self.other} cannot be told apart: {points} ({interval})"
        return f"{self.one} ends {points} above {self.other} ({interval})"


def difference(one: "pd.Series[float]", other: "pd.Series[float]") -> Estimate:
    """The mean difference over seeds that both have, with Student's 95% interval; NaN where they share none.

    Trials of one seed learn the same tasks from the same first weights, so the seeds' own differences cancel.

    Args:
        one: accuracies by seed.
        other: likewise.
    """
    gaps = (one - other).dropna().to_numpy()
    if len(gaps) < 2:
        return Estimate(float(gaps.mean()) if len(gaps) else np.nan)
    half = float(stdtrit(len(gaps) - 1, 0.975)) * gaps.std(ddof=1) / np.sqrt(len(gaps))
    return Estimate(float(gaps.mean()), float(gaps.mean() - half), float(gaps.mean() + half))


def differences(some: pd.DataFrame) -> list[Difference]:
    """The best curve against the second, and the best against `none`, or else against the last.

    Args:
        some: columns context, seed, accuracy: one row for each trial.
    """
    by_seed = {name: rows.groupby("seed")["accuracy"].mean() for name, rows in some.groupby("context", observed=True)}
    ranked = sorted(by_seed, key=lambda name: -by_seed[name].mean())
    if len(ranked) < 2:
        return []
    base = "none" if "none" in ranked[1:] else ranked[-1]
    found = []
    for other in dict.fromkeys([ranked[1], base]):
        by = difference(by_seed[ranked[0]], by_seed[other])
        if by.value == by.value:
            pairs = len(by_seed[ranked[0]].index.intersection(by_seed[other].index))
            found.append(Difference(text_of(ranked[0]), text_of(other), by, pairs))
    return found


def final_accuracy(measured: Measured) -> pd.DataFrame:
    """Each trial's mean accuracy after its last task, with all settings, at each curve's best learning rate."""
    frame = mean_accuracy(measured.best_lr)
    last = frame.groupby("trial_id")["tasks_seen"].transform("max")
    return measured.beside(frame[frame["tasks_seen"] == last])


def _differences(measured: Measured) -> Iterator[Finding]:
    frame = final_accuracy(measured)
    if frame.empty or frame["context"].nunique() < 2:
        return
    lines = []
    tasks = sorted(frame["tasks_seen"].unique())
    after = f"after {tasks[0]:g} task{'s' if tasks[0] > 1 else ''}" if len(tasks) == 1 else "after the last task"
    for where, some in _groups(frame, measured.settings):
        if some["tasks_seen"].nunique() > 1:
            continue  # curves that have learned different numbers of tasks are not compared
        told = [str(one) for one in differences(some)]
        if told:
            text = "; ".join(told)
            lines.append(f"{where}, {text}." if where else f"{_capital(text)}.")
    if lines:
        yield Finding("result", "Who is ahead", f"{lines[0]} Compared: mean accuracy {after}.", tuple(lines[1:]))


def _laws(measured: Measured) -> Iterator[Finding]:
    found = laws(measured, THRESHOLD)
    fitted = [law for law in found if law.is_fitted]
    if not fitted:
        numbers = settings_of(measured.evals, ["width"])["width"].nunique()
        if found and numbers > 1:
            reasons: dict[str, list[str]] = {}
            for law in found:
                reasons.setdefault(law.reason, []).append(law.name)
            told = "; ".join(f"{', '.join(names)}: {reason}" for reason, names in reasons.items())
            yield Finding("caution", "No law", f"No law of capacity by width can be fitted: {told}.")
        return
    yield Finding("result", "Law", law_sentence(fitted), tuple(_crossings(found)))
    without = [law for law in found if not law.is_fitted]
    if without:
        told = "; ".join(f"{law.name}: {law.reason}" for law in without[:MOST_NAMED])
        yield Finding("caution", "No law", f"Without a law: {told}.")


def law_sentence(fitted: Sequence[Law]) -> str:
    """The exponents of the laws, with their intervals."""
    told = [f"{law.name} b = {in_brackets(law.exponent, '.2f')}" for law in fitted]
    censored = sum(law.num_above for law in fitted)
    kept = f" {censored} trials kept all their tasks and count as a lower bound." if censored else ""
    return f"Capacity grows as width^b: {'; '.join(_shortened(told))}. Brackets: 95% intervals.{kept}"


def _crossings(found: Sequence[Law]) -> Iterator[str]:
    for one in crossings_of(found):
        yield crossing_sentence(one)


def crossing_sentence(one: Crossing) -> str:
    """Where one law overtakes another, or by what factor it is above it."""
    if one.width is not None:
        return f"{one.upper.name} holds more than {one.lower.name} from width {in_brackets(one.width, '.3g')} on."
    assert one.ratio is not None
    times = f"{in_brackets(one.ratio, '.3g')} times as many tasks at width {text_of(one.near)}, where they are nearest"
    return f"{one.upper.name} holds more than {one.lower.name} at all widths measured: {times}."


def _forgetting(summary: Summary) -> Iterator[Finding]:
    rows = summary.rows
    if "forgetting" not in rows or rows["forgetting"].isna().all():
        return
    lines = []
    for where, some in _groups(rows.dropna(subset="forgetting"), summary.settings):
        some = some.sort_values("forgetting")
        told = [f"{text_of(some.iloc[0]['context'])} has lost {_points(some.iloc[0], 'forgetting')}"]
        if len(some) > 1:
            told = [
                f"{told[0]}, the least",
                f"{text_of(some.iloc[-1]['context'])} {_points(some.iloc[-1], 'forgetting')}, the most",
            ]
        text = "; ".join(told)
        lines.append(f"{where}, {text}." if where else f"{_capital(text)}.")
    yield Finding(
        "result",
        "Forgetting",
        f"{lines[0]} Counted: a task's best accuracy less its last, mean over tasks.",
        tuple(lines[1:]),
    )


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
    told = [
        f"{', '.join(said(name, None if pd.isna(row[name]) else row[name]) for name in names)} at {row['lr']:g}"
        for _, row in edge.iterrows()
    ]
    yield Finding(
        "caution",
        "Learning rate",
        f"{len(edge)} of {len(rows)} curves do best at the lowest or highest learning rate tried, so a better rate may "
        f"lie beyond: {'; '.join(_shortened(told))}.",
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
            f"{far['context']} at width {far['width']:g} with {far['num_models']:g} models.",
        )
    scaled = means.assign(scaled=means["second_moment"] * means["width"] / (means["num_models"] - 1))
    order = scaled.groupby("context")["scaled"].mean().sort_values()
    yield Finding(
        "result",
        "Crosstalk by context",
        f"{order.index[0]} has the least, {order.iloc[0]:.3g}, and {order.index[-1]} the most, {order.iloc[-1]:.3g}: "
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
        within = f", and {inside} lie in our 95% interval"
    return (
        f"{one.name}, {one.quantity}: of {len(both)} published values ours are {100 * np.abs(gap).mean():.1f} points "
        f"away on average{within}. Farthest: {far['context']} at width {far['width']:g} after "
        f"{far['step'] / one.step_unit:,.0f} {'tasks' if one.step_unit > 1 else 'steps'}, {100 * far['mean']:.1f}% "
        f"for {100 * far['value']:.1f}%."
    )


def _lost(store: StoredTrials, progress: Progress | None) -> Iterator[Finding]:
    """What diverged, failed or cannot be read."""
    if store.left_out:
        yield Finding("caution", "Diverged or failed", " ".join(f"{_capital(text)}." for text in store.left_out))
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


def missing_lines(progress: Progress) -> list[str]:
    """What is missing by each setting: `width: 128 (12), 256 (15)`."""
    lines = []
    names = dict.fromkeys(name for row in progress.missing for name in row if name not in ("status", "seed"))
    for name in names:
        counts = Counter(row[name] for row in progress.missing if name in row)
        if len(counts) <= MOST_VALUES:
            told = ", ".join(f"{text_of(value)} ({counts[value]})" for value in in_order(counts))
            lines.append(f"{_capital(name_of(name) or 'context')}: {told}.")
    return lines


def sentence(store: StoredTrials, progress: Progress | None = None) -> str:
    """The study in a sentence: how many trials, of what, and what varies."""
    trials = store.trials
    stored = f"{len(trials)} trial{'s' if len(trials) != 1 else ''}"
    if progress and not progress.is_whole:
        stored = f"{progress.done} of {progress.planned} trials"
    curves = [text_of(name) for name in in_order(trials["curve"].unique().tolist())]
    parts = [
        f"{len(curves)} curves ({', '.join(curves)})" if 1 < len(curves) <= MOST_NAMED else f"{len(curves)} curves"
    ]
    if len(curves) == 1:
        parts = curves
    for name, plural in (("width", "widths"), ("lr", "learning rates"), ("seed", "seeds")):
        values = [text_of(value) for value in values_of(trials, name)]
        if len(values) > 1:
            listed = ", ".join(values) if len(values) <= MOST_NAMED else f"{values[0]} to {values[-1]}"
            parts.append(f"{len(values)} {plural} ({listed})")
    varied = ", ".join(parts)
    if store.evals.empty:
        return f"{stored} of retrieval, without training: {varied}."
    tasks = sorted(store.evals["num_tasks"].unique())
    number = f"{tasks[0]:g}" if len(tasks) == 1 else f"{tasks[0]:g} to {tasks[-1]:g}"
    setups = settings_of(store.evals, ["stream", "dataset", "model"])
    streams = _listed([" ".join(map(str, row)) for row in setups[["stream", "dataset"]].drop_duplicates().to_numpy()])
    models = _listed([str(model) for model in setups["model"].unique()])
    each = f"each learns {number} tasks of {streams}, one after another, with one {models}"
    return f"{stored}, of which {each}. What varies: {varied}."

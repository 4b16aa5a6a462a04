"""What a store holds and what it lacks, in a sentence."""

from collections import Counter
from typing import Final

from analysis.report.progress import Progress
from analysis.report.wording import MOST_NAMED, capital, listed, named
from analysis.roles import in_order, name_of, text_of, values_of
from analysis.store import StoredTrials
from analysis.tables import settings_of

MOST_VALUES: Final = 24


def missing_lines(progress: Progress) -> list[str]:
    """What is missing by each setting that varies among it, such as `Width: 128 (12), 256 (15)`."""
    lines = []
    for name in dict.fromkeys(name for row in progress.missing for name in row if name not in ("status", "seed")):
        counts = Counter(row[name] for row in progress.missing if name in row)
        if 1 < len(counts) <= MOST_VALUES:
            values = ((named(value) if name == "curve" else text_of(value), value) for value in in_order(counts))
            told = ", ".join(f"{text} ({counts[value]})" for text, value in values)
            lines.append(f"{capital('learning rate' if name == 'lr' else name_of(name))}: {told}.")
    return lines


def sentence(store: StoredTrials, progress: Progress | None = None) -> str:
    """The study in a sentence: how many trials, of what, and what varies."""
    trials = store.trials
    stored = f"{len(trials)} trial{'s' if len(trials) != 1 else ''}"
    if progress and not progress.is_whole and progress.done == len(trials):
        stored = f"{progress.done} of {progress.planned} trials"
    curves = [named(name) for name in in_order(trials["curve"].unique().tolist())]
    parts = curves
    if len(curves) > 1:
        parts = [f"{len(curves)} curves" + (f" ({'; '.join(curves)})" if len(curves) <= MOST_NAMED else "")]
    for name, plural in (("width", "widths"), ("lr", "learning rates"), ("seed", "seeds")):
        values = [text_of(value) for value in values_of(trials, name)]
        if len(values) > 1:
            told = ", ".join(values) if len(values) <= MOST_NAMED else f"{values[0]} to {values[-1]}"
            parts.append(f"{len(values)} {plural} ({told})")
    varied = ", ".join(parts)
    if store.evals.empty:
        return f"{stored} of retrieval, without training: {varied}."
    tasks = sorted(store.evals["num_tasks"].unique())
    number = f"{tasks[0]:g}" if len(tasks) == 1 else f"{tasks[0]:g} to {tasks[-1]:g}"
    setups = settings_of(store.evals, ["stream", "dataset", "model"])
    streams = listed([" ".join(map(str, row)) for row in setups[["stream", "dataset"]].drop_duplicates().to_numpy()])
    models = listed([str(model) for model in setups["model"].unique()])
    each = f"each learns {number} tasks of {streams}, one after another, with one {models}"
    return f"{stored}, of which {each}. What varies: {varied}."

"""Mean accuracy over width and number of tasks, a map for each context."""

from typing import Any

import seaborn as sns
from matplotlib.figure import Figure

from analysis.figures.base import UnsupportedError, new_figure, palette, refuse_cycles, seeds_and_lr
from analysis.tables import Measured, mean_accuracy


def draw(measured: Measured) -> Figure:
    """One map for each context: rows are widths, columns numbers of tasks.

    Raises:
        UnsupportedError: fewer than two widths, or fewer than two numbers of tasks, or a stream has cycles.
    """
    refuse_cycles(measured.evals, "the number of tasks stored no longer grows; see first-task")
    frame = mean_accuracy(measured.best_lr)
    if frame["width"].nunique() < 2 or frame["tasks_seen"].nunique() < 2:
        raise UnsupportedError("needs at least two widths, measured after at least two numbers of tasks")
    contexts = list(palette(set(frame["context"])))
    widths = sorted(frame["width"].unique(), reverse=True)
    tasks_seen = sorted(frame["tasks_seen"].unique())
    figure, panels = new_figure(1, len(contexts), 2.4, 0.45 * len(widths), right=0.9)
    # One bar for all maps, beside the last.
    _, bottom, _, height = panels.flat[-1].get_position().bounds
    bar = figure.add_axes((1 - 0.8 / figure.get_figwidth(), bottom, 0.12 / figure.get_figwidth(), height))
    for index, (context, axes) in enumerate(zip(contexts, panels.flat, strict=True)):
        table = frame[frame["context"] == context].pivot_table(index="width", columns="tasks_seen", values="accuracy")
        table = table.reindex(index=widths, columns=tasks_seen)  # all maps alike, blank where not measured
        options: dict[str, Any] = {"cbar_ax": bar, "cbar_kws": {"label": "mean accuracy"}}
        sns.heatmap(table, vmin=0, vmax=1, cmap="viridis", ax=axes, cbar=index == 0, **(options if index == 0 else {}))
        axes.set(title=context, xlabel="number of tasks", ylabel="width" if index == 0 else "")
    figure.suptitle(f"Mean accuracy over all tasks stored\n{seeds_and_lr(frame, measured.evals)}", fontsize=10)
    return figure

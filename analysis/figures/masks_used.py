"""Masks begun where no task is told, against the threshold by which a batch is taken to be of a new one."""

from typing import Final

import matplotlib.pyplot as plt
import seaborn as sns
from matplotlib.figure import Figure

from analysis.figures.base import UnsupportedError, finish
from analysis.tables import Measured, mean_accuracy, over_seeds

QUANTITIES: Final = {"num_masks": "masks begun", "purity": "purity of the masks", "accuracy": "mean accuracy"}


def draw(measured: Measured) -> Figure:
    """How many masks there are, how pure they are, and mean accuracy over all tasks.

    Raises:
        UnsupportedError: fewer than two thresholds.
    """
    trials = measured.trials
    if "num_masks" not in trials or trials["new_mask_eps"].nunique() < 2:
        raise UnsupportedError("needs at least two values of new_mask_eps")
    frame = mean_accuracy(measured.evals)
    frame = frame[frame["tasks_seen"] == frame["tasks_seen"].max()]
    columns = ["trial_id", "new_mask_eps", "num_masks", "purity", "num_tasks"]
    frame = frame.merge(trials[columns].dropna(subset="num_masks"), on="trial_id")
    figure, panels = plt.subplots(1, len(QUANTITIES), figsize=(9.4, 3.4))
    figure.subplots_adjust(left=0.07, right=0.98, top=0.8, bottom=0.16, wspace=0.28)
    for axes, (column, label) in zip(panels, QUANTITIES.items(), strict=True):
        curve = over_seeds(frame, ["new_mask_eps"], column)
        axes.plot(curve["new_mask_eps"], curve["mean"], "o-")
        axes.fill_between(curve["new_mask_eps"], curve["low"], curve["high"], alpha=0.2, lw=0)
        axes.set(xlabel="threshold eps", ylabel=label, ylim=(0, None if column == "num_masks" else 1.03))
        axes.set_xscale("log", base=2)
        axes.set_xticks(curve["new_mask_eps"], [f"{eps:.3g}" for eps in curve["new_mask_eps"]], fontsize=7)
    panels[0].axhline(frame["num_tasks"].iloc[0], color="0.5", linestyle=":", label="number of tasks")
    panels[0].legend(frameon=False)
    sns.despine(figure)
    return finish(figure, "No task is told, in training either: masks are begun by themselves", frame, measured.evals)

"""Draws the masks begun without task labels, against eps, the threshold for a new mask."""

from typing import Final

from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from analysis.captions import caption
from analysis.figures.base import Curves, OtherStudyError, draw_curve, mark_level
from analysis.figures.layout import Texts, sheet
from analysis.figures.styles import current, styled
from analysis.measured import Measured
from analysis.roles import name_of
from analysis.tables import mean_accuracy, over_seeds

X: Final = "new_mask_eps"
QUANTITIES: Final = {"num_masks": "masks begun", "purity": "purity of the masks", "accuracy": "mean accuracy"}


@styled
def draw(measured: Measured) -> Figure:
    """The number of masks, their purity, and mean accuracy over all tasks; a row for each panel.

    Raises:
        OtherStudyError: fewer than two values of eps.
    """
    trials = measured.trials
    if "num_masks" not in trials or trials[X].nunique() < 2:
        raise OtherStudyError(f"needs at least two values of {X}")
    measured = measured.against(X)
    frame = mean_accuracy(measured.best_lr)
    frame = measured.beside(frame[frame["tasks_seen"] == frame["tasks_seen"].max()])
    columns = ["trial_id", "num_masks", "purity", "num_tasks"]
    frame = frame.merge(trials[columns].dropna(subset="num_masks"), on="trial_id")
    shown = Curves(frame, measured.roles)
    rows = shown.panels
    texts = Texts(
        title=measured.titled("No task is told, in training either: masks are begun by themselves"),
        caption=caption(measured, frame, "Dotted: number of tasks.", x=X),
        keys=shown.keys() if len(shown.hues) > 1 or shown.dashes else (),
    )
    titles = [name for name, _ in rows for _ in QUANTITIES]
    figure, grid = sheet(titles, texts, columns=min(len(QUANTITIES), current().most_columns), sharey=False)
    panels = [(column, some) for _, some in rows for column in QUANTITIES]
    for axes, (column, some) in zip(grid, panels, strict=True):
        for look, of_curve in shown.of(some):
            draw_curve(axes, over_seeds(of_curve, [X], column), X, look, 0)
        axes.set(xlabel=name_of(X), ylabel=QUANTITIES[column], ylim=(0, None if column == "num_masks" else 1.03))
        axes.set_xscale("log", base=2)
        eps = sorted(frame[X].unique())
        axes.set_xticks(eps, [f"{value:.2g}" if place % 2 == 0 else "" for place, value in enumerate(eps)])
        axes.yaxis.set_major_locator(MaxNLocator(5, integer=column == "num_masks"))
    for axes, (column, some) in zip(grid, panels, strict=True):
        if column == "num_masks":
            mark_level(axes, float(some["num_tasks"].iloc[0]), "number of tasks", at_left=True)
    return figure

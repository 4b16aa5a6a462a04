"""Accuracy by angle after the last cycle of a rotating stream."""

from matplotlib.figure import Figure

from analysis.figures.base import Axis, OtherStudyError, UnsupportedError, curves
from analysis.figures.styles import styled
from analysis.measured import Measured
from analysis.tables import TRIAL


@styled
def draw(measured: Measured) -> Figure:
    """Curves over the angles at which tasks begin.

    Task j is measured at 360 j / num_tasks degrees.

    Raises:
        OtherStudyError: another stream.
        UnsupportedError: fewer than two tasks.
    """
    if (measured.evals["stream"] != "rotating").any():
        raise OtherStudyError("needs a rotating stream")
    evals = measured.best_lr
    frame = evals.loc[evals["tasks_seen"] == evals["num_tasks"] * evals["num_cycles"]]
    if frame["task"].nunique() < 2:
        raise UnsupportedError("needs at least two tasks")
    frame = frame.assign(angle=360 * frame["task"] / frame["num_tasks"])[[*TRIAL, "angle", "accuracy"]]
    names = [column for column in frame if frame[column].dtype == "category"]
    x, y = Axis(column="angle", label="angle (degrees)"), Axis(column="accuracy", label="accuracy")
    cycles = evals["num_cycles"].max()
    figure = curves(
        measured,
        frame.astype(dict.fromkeys(names, object)),
        x,
        y,
        title=f"Around the circle: accuracy by angle after {f'{cycles} cycles' if cycles > 1 else 'one cycle'}",
    )
    figure.axes[0].set(ylim=(0, 1), xlim=(-10, 360), xticks=range(0, 361, 90))
    return figure

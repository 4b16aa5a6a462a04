"""The report's charts, in the order of the page."""

from collections.abc import Callable, Sequence
from typing import Final

from analysis.report.chart import Chart
from analysis.report.curve_charts import of_capacity, of_first_task, of_interference, of_lr, of_predictions, of_setting
from analysis.report.point_charts import of_costs, of_crosstalk, of_law
from analysis.report.shown import Shown

Draw = Callable[[Shown], Chart | None]
OF_ACCURACY: Final[Sequence[Draw]] = (
    *(of_capacity, of_law, of_first_task, of_interference, of_setting, of_lr, of_costs, of_predictions),
)


def charts(shown: Shown) -> list[Chart]:
    """The charts that the store supports."""
    draw: Sequence[Draw] = OF_ACCURACY if len(shown.measured.evals) else (of_crosstalk,)
    return [chart for chart in (one(shown) for one in draw) if chart is not None]

"""The report's charts: the numbers that they draw, and that Vega-Lite takes their specifications."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
import pytest
import vl_convert
from scipy import stats

from analysis.report.bundle import VEGA_LITE
from analysis.report.charts import charts
from analysis.report.curve_charts import of_capacity
from analysis.report.shown import LEAST_CONTRAST, LIGHT, Shown, contrast, css, on_dark
from analysis.report.specs import means
from analysis.report.vega import T_975, Axis
from analysis.store import StoredTrials, read_store
from tests.analysis.test_roles import store_of


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> StoredTrials:
    axes: dict[str, Sequence[object]] = {"context": ["none", "binary"], "width": [8, 16], "lr": [0.1, 0.01]}
    return read_store(store_of(tmp_path_factory.mktemp("charts") / "out", axes))


def test_every_chart_is_vega_lite_that_compiles(store: StoredTrials) -> None:
    drawn = charts(Shown.of(store))
    assert {"capacity", "first-task", "forgetting", "by-setting", "learning-rate", "by-cost"} <= {c.name for c in drawn}
    for chart in drawn:
        spec = chart.spec | {"datasets": {"rows": [], "law": []}, "width": 300}
        vl_convert.vegalite_to_vega(spec, vl_version=VEGA_LITE)
        assert {len(row) for row in chart.rows} == {1 + len(chart.columns)}
        assert chart.alt


def test_the_capacity_chart_has_every_trials_mean_over_its_tasks(store: StoredTrials) -> None:
    shown = Shown.of(store)
    chart = of_capacity(shown)
    assert chart
    names = shown.trials["trial_id"].tolist()
    found = {(names[row[0]], row[1]): row[2] for row in chart.rows}
    expected = store.evals.groupby(["trial_id", "tasks_seen"], observed=True)["accuracy"].mean()
    assert len(found) == len(expected) == 16 * 3
    for key, value in expected.items():
        assert found[key] == pytest.approx(value, abs=1e-4)


def test_what_vega_computes_are_means_and_students_intervals() -> None:
    """Evaluated here by hand, as Vega's expressions say."""
    values = [0.5, 0.6, 0.9]
    low, high = stats.t.interval(0.95, 2, loc=np.mean(values), scale=stats.sem(values))
    half = T_975[3] * np.std(values, ddof=1) / np.sqrt(3)
    assert (np.mean(values) - half, np.mean(values) + half) == pytest.approx((low, high), rel=1e-4)
    steps: list[Any] = means(Axis(column="x", title="x"), Axis(column="y", title="y"))
    assert [one["op"] for one in steps[0]["aggregate"]] == ["mean", "stdev", "count"]  # Vega's stdev is the sample's
    assert "series" in steps[0]["groupby"]


def test_the_best_learning_rate_is_shown_first_and_others_can_be_chosen(store: StoredTrials) -> None:
    shown = Shown.of(store)
    (rates,) = (facet for facet in shown.facets if facet.role == "lr")
    assert rates.values == ["best", "0.01", "0.1"]
    best = shown.trials[shown.trials["is_best"]]
    assert best.groupby(["hue", "panel"])["lr"].nunique().tolist() == [1] * 4
    final = store.evals[store.evals["tasks_seen"] == 3].groupby(["context", "width", "lr"], observed=True)["accuracy"]
    winners = final.mean().groupby(level=[0, 1], observed=True).idxmax()
    chosen = set(best[["curve", "width", "lr"]].drop_duplicates().itertuples(index=False, name=None))
    assert chosen == {tuple(winner) for winner in winners}


def test_trials_that_are_averaged_differ_in_seed_and_learning_rate_alone(store: StoredTrials) -> None:
    trials = Shown.of(store).trials
    groups = trials.groupby("series")
    assert (groups["curve"].nunique() == 1).all()
    assert (groups["width"].nunique() == 1).all()
    assert trials["series"].nunique() == 4


@pytest.mark.parametrize("colour", [(0.1, 0.1, 0.1), (0.0, 0.447, 0.698), (0.94, 0.89, 0.26), (1.0, 1.0, 1.0)])
def test_colours_are_seen_on_the_dark_page(colour: tuple[float, float, float]) -> None:
    from analysis.report.shown import DARK

    assert contrast(on_dark(colour), DARK) >= LEAST_CONTRAST
    assert contrast((0, 0, 0), LIGHT) == pytest.approx(21)
    assert css((0.0, 0.5, 1.0)) == "#0080ff"


def test_a_store_with_many_moments_is_thinned_and_says_so(store: StoredTrials, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("analysis.report.curve_charts.MOST_ROWS", 40)
    monkeypatch.setattr("analysis.report.curve_charts.FEWEST_MOMENTS", 1)
    shown = Shown.of(store)
    long = pd.concat([store.evals.assign(tasks_seen=seen, num_tasks=1, task=0) for seen in range(1, 21)])
    frame = long.drop_duplicates(["trial_id", "tasks_seen", "task"])
    from dataclasses import replace

    chart = of_capacity(replace(shown, measured=replace(shown.measured, evals=frame)))
    assert chart
    moments = sorted({row[1] for row in chart.rows})
    assert moments[-1] == 20
    assert len(moments) < 20
    assert "One of" in chart.note

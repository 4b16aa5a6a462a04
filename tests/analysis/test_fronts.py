"""Figures of accuracy against costs: what is drawn, and which points are on the front."""

from dataclasses import replace

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from matplotlib.axes import Axes

from analysis.figures import FIGURES, OtherStudyError
from analysis.figures.fronts import on_front
from analysis.measured import Measured
from analysis.roles import Roles
from psp_core.trial import TrialConfig
from tests.analysis.rows import row_of
from tests.figures import FigureContract

NUM_TASKS = 4
ACCURACY = {("none", 4): 0.5, ("none", 8): 0.6, ("binary", 4): 0.55, ("binary", 8): 0.9, ("complex", 4): 0.4}
SETTINGS = ["context", "width", "lr", "seed", "num_tasks", "num_cycles", "num_labels", "max_bytes"]


def hand_made(roles: Roles, **settings: object) -> Measured:
    """A trial for each of ACCURACY and two seeds, 0.1 apart; after fewer tasks all have 1."""
    rows, evals = [], []
    for (context, width), accuracy in ACCURACY.items():
        for seed in range(2):
            of = {"dataset": "digits", "num_tasks": NUM_TASKS, "width": width, "seed": seed, **settings}
            row = row_of(TrialConfig(context=context, **of))
            rows.append(row)
            for seen in range(1, NUM_TASKS + 1):
                value = 1.0 if seen < NUM_TASKS else accuracy + (0.05 if seed else -0.05)
                known = {name: row[name] for name in SETTINGS}
                of_tasks = [{"tasks_seen": seen, "task": task, "accuracy": value} for task in range(seen)]
                evals += [{"trial_id": row["trial_id"], **known, **each} for each in of_tasks]
    return Measured(pd.DataFrame(evals), pd.DataFrame(rows), roles=roles)


def lines_of(axes: Axes) -> dict[str, list[tuple[float, float]]]:
    """The lines by label, and the rings."""
    found = {}
    for line in axes.get_lines():
        points = [(float(x), float(y)) for x, y in zip(line.get_xdata(), line.get_ydata(), strict=True)]  # type: ignore[arg-type]
        found[str(line.get_gid() or line.get_label())] = points
    for bars in axes.containers:
        if str(bars.get_label()) in {context for context, _ in ACCURACY}:
            data_line = bars.lines[0]  # type: ignore[attr-defined]
            found[str(bars.get_label())] = list(zip(data_line.get_xdata(), data_line.get_ydata(), strict=True))
    return found


def price_of(name: str, context: str, width: int, **settings: object) -> float:
    facts = TrialConfig(dataset="digits", num_tasks=NUM_TASKS, width=width, context=context, **settings).facts
    return float(facts[name])  # type: ignore[arg-type]


@pytest.mark.parametrize(("name", "column"), [("front-of-bytes", "kept_bytes"), ("front-of-operations", "train_flops")])
def test_points_are_means_over_seeds_at_the_price_of_the_tasks_seen(name: str, column: str) -> None:
    (axes,) = FIGURES[name](hand_made(Roles())).axes
    drawn = lines_of(axes)
    for context in ("none", "binary", "complex"):
        wanted = [(price_of(column, c, w), value) for (c, w), value in ACCURACY.items() if c == context]
        assert [x for x, _ in drawn[context]] == pytest.approx([x for x, _ in sorted(wanted)])
        assert [y for _, y in drawn[context]] == pytest.approx([y for _, y in sorted(wanted)])
    of_all = {(price_of(column, c, w), value) for (c, w), value in ACCURACY.items()}
    front = [(x, y) for x, y in of_all if not any((a <= x and b > y) or (a < x and b == y) for a, b in of_all)]
    assert drawn["front"] == [pytest.approx(point) for point in sorted(front)]
    assert 1 < len(front) < len(of_all)


def test_a_trial_of_more_tasks_counts_what_the_tasks_seen_keep() -> None:
    measured = hand_made(Roles())
    fewer = replace(measured, evals=measured.evals[measured.evals["tasks_seen"] <= 2])
    (axes,) = FIGURES["front-of-bytes"](fewer).axes
    two = [TrialConfig(dataset="digits", num_tasks=2, width=width, context="binary").kept_bytes for width in (4, 8)]
    assert [x for x, _ in lines_of(axes)["binary"]] == pytest.approx(two)


def test_where_bytes_are_given_a_line_runs_over_them() -> None:
    made = [hand_made(Roles(panel="max_bytes"), max_bytes=most) for most in (10_000, 20_000)]
    both = replace(made[0], evals=pd.concat([one.evals for one in made]), trials=pd.concat([m.trials for m in made]))
    few = both.evals["context"].map({"none": 4, "binary": 4, "complex": 4}) == both.evals["width"]
    (axes,) = FIGURES["front-of-bytes"](replace(both, evals=both.evals[few])).axes
    drawn = lines_of(axes)
    assert drawn["binary"] == [(10_000, pytest.approx(0.55)), (20_000, pytest.approx(0.55))]
    assert drawn["front"] == [(10_000, pytest.approx(0.55))]  # no other limit's trial is more accurate


def test_stores_that_are_older_than_costs_have_no_such_figure() -> None:
    measured = hand_made(Roles())
    for trials in (measured.trials.drop(columns="kept_bytes"), measured.trials.assign(kept_bytes=None)):
        with pytest.raises(OtherStudyError, match="costs are known"):
            FIGURES["front-of-bytes"](replace(measured, trials=trials))


@given(st.lists(st.tuples(st.integers(1, 9), st.integers(0, 9)), min_size=1, max_size=12))
def test_the_front_is_what_no_other_point_beats(points: list[tuple[int, int]]) -> None:
    frame = pd.DataFrame(sorted(set(points), key=hash), columns=["price", "accuracy"])
    found = on_front(frame["price"], frame["accuracy"])
    for (price, accuracy), is_on in zip(frame.itertuples(index=False), found, strict=True):
        beaten = ((frame["price"] <= price) & (frame["accuracy"] > accuracy)) | (
            (frame["price"] < price) & (frame["accuracy"] == accuracy)
        )
        assert is_on == (not beaten.any())


class TestFrontOfBytes(FigureContract):
    name = "front-of-bytes"


class TestFrontOfOperations(FigureContract):
    name = "front-of-operations"

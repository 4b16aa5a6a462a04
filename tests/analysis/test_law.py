"""The law of capacity on made-up capacities: its intervals, its refusals, and where two laws cross."""

from collections.abc import Sequence

import numpy as np
import pandas as pd
import pytest

from analysis.law import Law, bootknife, crossings_of, law

WIDTHS = (16, 32, 64, 128, 256)


def trials(a: float, b: float, *, noise: float = 0.15, num_tasks: int = 30, seeds: int = 4, seed: int = 0,
           widths: Sequence[int] = WIDTHS) -> pd.DataFrame:  # fmt: skip
    """Capacities by a known law, as trials of so many tasks measure them."""
    rng = np.random.default_rng(seed)
    width = np.repeat(widths, seeds)
    true = a * width**b * np.exp(noise * rng.normal(size=len(width)))
    at_least = np.clip(np.floor(true), 1, num_tasks).astype(int)
    below = np.where(at_least == num_tasks, np.inf, at_least + 1)
    return pd.DataFrame({"width": width, "at_least": at_least, "below": below, "num_tasks": num_tasks})


def named(name: str, rows: pd.DataFrame) -> Law:
    return law({"context": name}, 0.9, rows)


def test_the_interval_has_the_true_exponent_where_a_fit_of_the_numbers_as_they_stand_is_biased() -> None:
    a, b = 0.3, 0.9  # 3.6 tasks at width 16, 24 at 128, 44 at 256: most trials of the two largest widths are censored
    covered, fitted, plain = [], [], []
    for seed in range(40):
        rows = trials(a, b, seed=1000 + seed, num_tasks=20)
        exponent = law({}, 0.9, rows, resamples=100).exponent
        covered.append(exponent.low <= b <= exponent.high)
        fitted.append(exponent.value)
        plain.append(np.polyfit(np.log(rows["width"]), np.log(rows["at_least"]), 1)[0])
    assert np.mean(covered) >= 0.85  # of four seeds a width, some 90% of a hundred intervals
    assert np.mean(fitted) == pytest.approx(b, abs=3 * np.std(fitted) / np.sqrt(40))
    assert np.mean(plain) < b - 0.15


def test_censoring_alone_does_not_move_the_law() -> None:
    whole, cut = (named("a", trials(0.3, 0.9, num_tasks=number)) for number in (1000, 25))
    assert cut.num_above > whole.num_above == 0
    assert cut.exponent.value == pytest.approx(whole.exponent.value, abs=0.1)
    assert cut.tasks(16).value == pytest.approx(whole.tasks(16).value, rel=0.1)


def test_bounds_that_are_far_apart_are_taken_as_such() -> None:
    rows = trials(0.3, 0.9, num_tasks=1000)
    steps = np.array([1, 2, 5, 10, 20, 50, 100, 1000])
    place = np.searchsorted(steps, rows["at_least"], side="right")
    coarse = rows.assign(at_least=steps[place - 1], below=steps[place].astype(float))
    assert named("a", coarse).exponent.value == pytest.approx(0.9, abs=0.1)


def test_scale_and_exponent_and_tasks_agree() -> None:
    found = named("a", trials(0.5, 0.7))
    assert found.tasks(64).value == pytest.approx(found.scale.value * 64**found.exponent.value)
    assert found.tasks(64).low < found.tasks(64).value < found.tasks(64).high


@pytest.mark.parametrize(
    ("rows", "reason"),
    [
        (trials(0.3, 0.9, widths=(16, 32)), "needs 3 widths, and has 2"),
        (trials(100, 0.5), "no trial reached its capacity"),
        (trials(0.01, 0.5), "every trial kept one task alone"),
        (trials(12, 0.5, num_tasks=60, widths=(16, 64, 256), noise=0.01), "needs two widths whose capacity"),
    ],
)  # fmt: skip
def test_there_is_no_law_where_the_trials_do_not_tell_and_the_reason_is_said(rows: pd.DataFrame, reason: str) -> None:
    found = named("a", rows)
    assert not found.is_fitted
    assert found.reason.startswith(reason)


def test_one_seed_has_a_law_without_intervals() -> None:
    found = named("a", trials(0.3, 0.9, seeds=1))
    assert found.is_fitted
    assert np.isnan([found.exponent.low, found.tasks(64).high]).all()
    assert "one seed" in found.reason


def test_resamples_that_lose_the_law_take_its_intervals() -> None:
    rows = trials(0.3, 0.9, widths=(16, 32, 256, 512), num_tasks=6, seeds=3, noise=0.0)
    rows.loc[rows["width"] == 32, ["at_least", "below"]] = [[5, 6], [6, np.inf], [6, np.inf]]
    found = named("a", rows)
    assert found.is_fitted
    assert "leave the law open" in found.reason
    assert np.isnan(found.exponent.low)


def test_resampled_means_vary_as_means_do() -> None:
    values = np.array([1.0, 2.0, 4.0, 7.0, 9.0, 15.0])
    groups = np.array([0, 0, 0, 1, 1, 1])
    weights = bootknife(groups, 40_000, np.random.default_rng(0))
    for group in (0, 1):
        some = groups == group
        assert (weights[:, some].sum(axis=1) == 3).all()
        means = weights[:, some] @ values[some] / 3
        assert means.mean() == pytest.approx(values[some].mean(), rel=0.01)
        assert means.var() == pytest.approx(values[some].var(ddof=1) / 3, rel=0.05)


# Where one overtakes another


def test_laws_cross_where_their_lines_do() -> None:
    steep, flat = named("steep", trials(0.1, 1.0, num_tasks=99)), named("flat", trials(0.8, 0.5, num_tasks=99, seed=1))
    (found,) = crossings_of([flat, steep])
    assert (found.upper.curve["context"], found.lower.curve["context"]) == ("steep", "flat")
    assert found.width is not None
    assert found.width.low < 64 < found.width.high  # 0.1 w = 0.8 sqrt(w)
    assert steep.tasks(found.width.value).value == pytest.approx(flat.tasks(found.width.value).value)


def test_laws_that_do_not_cross_say_how_near_they_are() -> None:
    large, small = (
        named("large", trials(0.8, 0.8, num_tasks=999)),
        named("small", trials(0.2, 0.7, num_tasks=999, seed=1)),
    )
    (found,) = crossings_of([small, large])
    assert found.width is None
    assert found.upper.curve["context"] == "large"
    assert found.near == 16  # a ratio of 4 times width^0.1
    assert found.ratio is not None
    assert found.ratio.low < 4 * 16**0.1 < found.ratio.high


def test_a_crossing_whose_place_is_not_sure_has_an_open_end() -> None:
    one, other = (named(name, trials(0.3, 0.9, noise=0.3, seed=seed)) for name, seed in (("one", 0), ("other", 5)))
    (found,) = crossings_of([one, other])
    if found.width is None:
        assert found.ratio is not None
        assert found.ratio.low < 1 < found.ratio.high
    else:
        assert found.width.low == 0 or np.isinf(found.width.high)


def test_curves_without_a_law_cross_nothing() -> None:
    assert not list(crossings_of([named("a", trials(100, 0.5)), named("b", trials(0.3, 0.9))]))

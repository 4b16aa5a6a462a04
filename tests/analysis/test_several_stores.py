"""Several stores side by side: no mean is over two, what a store has is said once, and figures and pages have all."""

from pathlib import Path

import pandas as pd
import pytest

from analysis.plot import plot_store, with_roles
from analysis.report import write_report
from analysis.report.findings import findings
from analysis.several_stores import names_of, told_by_store
from analysis.store import read_store
from analysis.summary import summarise
from tests.analysis.test_roles import store_of


@pytest.fixture(scope="module")
def alike(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """Two stores of the same trials, with the same ids; the second store's accuracies are others'."""
    folder = tmp_path_factory.mktemp("alike")
    axes = {"context": ["none", "binary"], "width": [8, 16]}
    first = store_of(folder / "before", axes)
    second = store_of(folder / "after", axes)
    (file,) = (Path(second) / "evals").glob("*.parquet")
    rows = pd.read_parquet(file)
    rows.assign(accuracy=rows["accuracy"] / 2).to_parquet(file)
    return [first, second]


def test_names_are_as_long_as_it_takes_to_tell_stores_apart() -> None:
    assert names_of(["results/a", "results/b/"]) == ["a", "b"]
    assert names_of(["x/out", "y/out"]) == ["x/out", "y/out"]
    assert names_of(["x/out"]) == ["out"]
    assert len(set(names_of(["x/out", "x/out"]))) == 2


def test_names_hold_no_secret() -> None:
    place = "s3://key:word@bucket/out?secret_key=hidden&scheme=http"
    assert names_of([place, "results/in"]) == ["out", "in"]
    assert names_of([place, place])[1] == "s3://bucket/out 1"


def test_no_mean_is_over_trials_of_two_stores(alike: list[str]) -> None:
    rows = summarise(read_store(*alike)).rows
    single = [summarise(read_store(out)).rows for out in alike]
    assert set(rows["trials"]) == {2}
    for name, of_one in zip(["before", "after"], single, strict=True):
        mine = rows[rows["store"] == name]
        assert mine["accuracy"].tolist() == pytest.approx(of_one["accuracy"].tolist())
    assert single[0]["accuracy"].tolist() == pytest.approx((2 * single[1]["accuracy"]).tolist())


def test_curves_of_two_stores_have_dashes_or_panels_of_their_own(alike: list[str]) -> None:
    assert "store" in with_roles(read_store(*alike)).roles.settings


def test_a_curve_is_compared_between_stores_over_common_seeds(alike: list[str]) -> None:
    store = read_store(*alike)
    (told,) = (one for one in findings(store) if one.about == "Between the stores")
    final = summarise(store).rows.set_index(["store", "context", "width"])["accuracy"]
    by = 100 * (final["after", "binary", 16] - final["before", "binary", 16])
    assert f"`binary` {by:+.1f} [" in told.text
    assert "points in after beside before" in told.text


def test_two_copies_of_a_store_end_exactly_alike(alike: list[str], tmp_path: Path) -> None:
    import shutil

    copy = shutil.copytree(alike[0], tmp_path / "copy")
    (told,) = (one for one in findings(read_store(alike[0], str(copy))) if one.about == "Between the stores")
    assert "`binary` and `none` end in copy exactly as in before" in told.text


def test_what_follows_from_the_store_is_not_said_beside_it() -> None:
    trials = pd.DataFrame(
        {"store": ["a", "a", "b", "b"], "depth": [1, 1, 2, 2], "lr": [1, 2, 1, 2], "dataset": ["x", "x", "y", "y"]}
    ).assign(context="none", width=8)
    assert told_by_store(trials, list(trials)) == ["depth"]
    assert told_by_store(trials, ["context", "depth"]) == []


def test_figures_and_page_of_several_stores_lie_where_the_user_says(alike: list[str], tmp_path: Path) -> None:
    lines = list(plot_store(alike, to=str(tmp_path / "drawn")))
    assert f"drew {tmp_path}/drawn/capacity.png" in lines
    assert (tmp_path / "drawn" / "capacity.png").exists()
    assert not (Path(alike[0]) / "figures").exists()
    page = Path(write_report(alike, to=tmp_path / "page.html")).read_text()
    assert "before" in page
    assert "2 stores side by side" in page

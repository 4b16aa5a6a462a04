"""`psp report`: its sentences and their numbers, from frames made by hand; and a page that stands alone."""

import json
import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from analysis.law import law
from analysis.report import Progress, write_report
from analysis.report.differences import difference, differences
from analysis.report.findings import capacities, findings, law_sentence
from analysis.report.matrices import STEPS, UNKNOWN, packed
from analysis.report.study_words import missing_lines, sentence
from analysis.store import StoredTrials, StoreError, read_store
from tests.analysis.test_roles import store_of

TEN = pd.DataFrame(
    {
        "context": ["none"] * 3 + ["binary"] * 3 + ["complex"] * 4,
        "seed": [0, 1, 2, 0, 1, 2, 0, 1, 2, 3],
        "accuracy": [0.30, 0.32, 0.31, 0.70, 0.74, 0.75, 0.80, 0.82, 0.84, 0.82],
    }
)
"""Final accuracies. By hand: complex less binary is 10, 8 and 9 points; Student's factor for 3 is 4.3027."""
HALF = 4.302653 * 0.01 / np.sqrt(3)


def progress(**changed: object) -> Progress:
    missing = [
        {"width": 64, "curve": "binary", "seed": 0, "status": "running"},
        {"width": 64, "curve": "none", "seed": 0, "status": "to do"},
        {"width": 128, "curve": "none", "seed": 1, "status": "failed"},
    ]
    told = {"name": "made-up", "planned": 11, "done": 8, "failed": 1, "running": 1, "missing": missing}
    return Progress(**{**told, **changed})  # type: ignore[arg-type]


def rows(*each: tuple[object, ...]) -> pd.DataFrame:
    names = ["context", "tasks", "trials", "capacity", "capacity_below", "capacity_low", "capacity_high", "at_end"]
    return pd.DataFrame(each, columns=names)


def test_a_difference_is_over_seeds_that_both_have_with_students_interval() -> None:
    best, base = differences(TEN)
    assert (best.one, best.other, best.pairs) == ("complex", "binary", 3)
    assert [best.by.value, best.by.low, best.by.high] == pytest.approx([0.09, 0.09 - HALF, 0.09 + HALF])
    assert str(best) == "`complex` ends 9.0 points above `binary` (95% interval 6.5 to 11.5; paired over 3 seeds)"
    assert (base.other, base.by.value) == ("none", pytest.approx(0.51))


def test_curves_whose_interval_holds_zero_are_not_told_apart() -> None:
    near = TEN.assign(accuracy=[0.3, 0.3, 0.3, 0.79, 0.84, 0.82, 0.80, 0.82, 0.84, 0.82])
    assert str(differences(near)[0]).startswith(
        "`complex` and `binary` cannot be told apart: 0.3 points (95% interval -"
    )


def test_one_seed_has_no_interval_and_none_in_common_no_difference() -> None:
    (only, _) = differences(TEN[TEN["seed"] == 0])
    assert str(only) == "`complex` ends 10.0 points above `binary` (one seed)"
    assert differences(TEN[(TEN["context"] == "none") | (TEN["seed"] == 3)]) == []
    assert differences(TEN[TEN["context"] == "none"]) == []
    apart = difference(pd.Series([0.5], index=[0]), pd.Series([0.5], index=[1]))
    assert np.isnan([apart.value, apart.low, apart.high]).all()


def test_capacities_are_told_from_the_most_with_what_bounds_them() -> None:
    some = rows(
        ("none", 10, 3, 2.33, 3.33, 0.9, 3.77, 0),
        ("binary", 10, 3, 10, np.inf, np.nan, np.nan, 3),
        ("complex", 10, 3, 10, np.inf, np.nan, np.nan, 3),
        ("rotation", 10, 3, 9, np.inf, np.nan, np.nan, 2),
        ("mask", 10, 3, 5, 8, np.nan, np.nan, 0),
        ("fourier", 10, 2, 4, 5, 4.0, 4.0, 0),
    )
    assert capacities(some) == (
        "`binary` and `complex` keep all 10 tasks on every seed, and might keep more; "
        "`rotation` keeps at least 9, for 2 of 3 seeds kept all their tasks; "
        "`mask` keeps 5 to 8; `fourier` keeps 4 on every seed; `none` keeps 2.33 [1, 3.77]"
    )


def test_the_law_is_told_with_its_interval_and_what_is_censored() -> None:
    widths = [16, 16, 32, 32, 64, 64]
    at_least = [4, 5, 8, 9, 16, 17]
    trials = pd.DataFrame({"width": widths, "at_least": at_least, "below": [*(k + 1 for k in at_least[:5]), np.inf]})
    found = law({"context": "binary"}, 0.9, trials.assign(num_tasks=20, by_heart=np.nan))
    b = found.exponent
    assert b.low < b.value < b.high
    assert law_sentence([found]) == (
        f"Capacity grows as width^b: `binary` b = {b.value:.2f} [{b.low:.2f}, {b.high:.2f}]. Brackets: 95% intervals. "
        "Trials that kept all their tasks count as a lower bound: 1."
    )


def test_what_is_missing_is_told_by_setting() -> None:
    assert missing_lines(progress()) == ["Width: 64 (2), 128 (1).", "Curve: `none` (2), `binary` (1)."]
    assert progress().to_do == 1


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> str:
    return store_of(tmp_path_factory.mktemp("made") / "out", {"context": ["none", "binary"], "width": [8, 16]})


@pytest.fixture(scope="module")
def store(made: str) -> StoredTrials:
    return read_store(made)


def test_a_study_that_is_half_way_says_what_is_measured_and_what_is_not(store: StoredTrials) -> None:
    (missing,) = (one for one in findings(store, progress()) if one.kind == "missing")
    assert missing.text == "3 of 11 planned trials are not measured yet: 1 running, 1 failed, 1 to do."
    assert not [one for one in findings(store, progress(done=11)) if one.kind == "missing"]
    assert sentence(store, progress()).startswith("8 of 11 trials, of which each learns 3 tasks of permuting digits")
    assert sentence(store).startswith("8 trials, of which each")


def test_trials_that_diverged_are_a_caution(store: StoredTrials) -> None:
    lost = StoredTrials(**{**vars(store), "left_out": ["2 diverged trials are left out: 2 of none, width 8, lr 3"]})
    told = [one.text for one in findings(lost) if one.kind == "caution"]
    assert "2 diverged trials are left out: 2 of none, width 8, lr 3." in told


def test_every_matrix_comes_back_from_what_the_page_holds(store: StoredTrials) -> None:
    import base64
    import zlib

    numbers = {name: place for place, name in enumerate(store.trials["trial_id"])}
    made = packed(store.evals, numbers)
    cells = np.frombuffer(zlib.decompress(base64.b64decode(made["data"])), dtype="<u2")
    for name, rows_ in store.evals.groupby("trial_id", observed=True):
        place, grid = made["of"][numbers[str(name)]]
        seen, task = made["grids"][grid]["seen"], made["grids"][grid]["task"]
        found = cells[place : place + len(seen) * len(task)].reshape(len(seen), len(task))
        expected = rows_.pivot(index="tasks_seen", columns="task", values="accuracy").to_numpy()
        assert np.array_equal(found == UNKNOWN, np.isnan(expected))
        assert found[found != UNKNOWN] / STEPS == pytest.approx(expected[~np.isnan(expected)], abs=0.5 / STEPS)


def test_too_many_cells_are_thinned_and_the_last_stay(monkeypatch: pytest.MonkeyPatch, store: StoredTrials) -> None:
    monkeypatch.setattr("analysis.report.matrices.MOST_CELLS", 40)
    numbers = {name: place for place, name in enumerate(store.trials["trial_id"])}
    made = packed(store.evals, numbers)
    assert made["every"] == 2
    assert made["grids"] == [{"seen": [1, 3], "task": [0, 2]}]


def data_of(page: str) -> dict[str, object]:
    (text,) = re.findall(r'<script type="application/json" id="data">(.*?)</script>', page, re.S)
    found: dict[str, object] = json.loads(text)
    return found


def test_the_page_stands_alone_and_is_small(made: str, tmp_path: Path) -> None:
    place = tmp_path / "page.html"
    assert write_report([made], {made: progress()}, place) == str(place)
    page = place.read_text()
    assert len(page) < 5e6
    around = re.sub(r"(<script[^>]*>).*?</script>", r"\1", page, flags=re.S)
    assert not re.findall(r"<[^>]+\b(?:src|srcset|action)=|<link|@import|url\(", around)
    assert set(re.findall(r'href="(.)', around)) == {"#"}
    assert "8 of 11 trials" in page
    assert len(data_of(page)["table"]["rows"]) == 8  # type: ignore[index]


def test_the_page_of_a_store_lies_in_it_and_is_written_whole(made: str, monkeypatch: pytest.MonkeyPatch) -> None:
    assert write_report([made]) == f"{made}/report.html"
    before = (Path(made) / "report.html").read_text()

    def fail(*_: object) -> None:
        raise OSError("no room")

    monkeypatch.setattr("analysis.report.write_whole", fail)
    with pytest.raises(StoreError, match="no room"):
        write_report([made])
    assert (Path(made) / "report.html").read_text() == before


def test_names_cannot_break_the_page(tmp_path: Path) -> None:
    out = store_of(tmp_path / "out", {"context": ["none"]})
    wild = progress(name="<script>alert(1)</script>", about="</title>&", study="</pre><b>")
    text = Path(write_report([out], {out: wild}, tmp_path / "page.html")).read_text()
    assert "<script>alert(1)</script>" not in text
    assert "</pre><b>" not in text

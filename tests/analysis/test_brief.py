"""The few lines that `psp run` and `psp plot` end with have the numbers of `psp table`."""

from pathlib import Path

import pytest

from analysis.brief import brief
from analysis.store import read_store
from analysis.summary import summarise

REFERENCE = Path(__file__).parents[2] / "reference"


def cells(name: str) -> dict[str, list[str]]:
    """The cells of each curve, by its name."""
    lines = list(brief(read_store(str(REFERENCE / name)), "OUT"))
    assert lines[-1] == "More, with intervals and notes: psp table OUT"
    ruler = lines[2].split("  ")
    ends = [sum(len(dashes) + 2 for dashes in ruler[: place + 1]) for place in range(len(ruler))]
    starts = [0, *ends[:-1]]
    rows = [[line[a:b].strip() for a, b in zip(starts, ends, strict=True)] for line in lines[3:-1]]
    return {curve: rest for curve, *rest in rows}


def test_a_curve_of_one_row_has_its_interval_and_capacity() -> None:
    found = cells("permuting-mnist-256")
    assert list(found) == ["one-power", "complex", "rotation", "binary", "none"]
    assert found["none"] == ["50", "34.4 ± 3.5", "4.3 ± 1.4"]
    assert found["complex"] == ["50", "90.1 ± 1.6", "≥ 50.0"]


def test_a_curve_of_several_widths_has_their_mean_and_its_best() -> None:
    rows = summarise(read_store(str(REFERENCE / "masks-and-contexts"))).rows
    binary = rows[rows["context"] == "binary"]
    found = cells("masks-and-contexts")["binary"]
    assert found == ["50", f"{100 * binary['accuracy'].mean():.1f}", "83.5", "width 256", "25.0 to 50.0"]


def test_curves_are_tuned_each_for_itself() -> None:
    found = cells("supsup-rivals-mnist")
    assert found["batche"] == ["10", "88.9", "0.0001", "≥ 10.0"]
    assert found["batche, trunk random"][2] == "0.01"


def test_a_store_without_accuracies_has_nothing_to_say() -> None:
    assert list(brief(read_store(str(REFERENCE / "retrieval")), "OUT")) == []


def test_of_many_curves_the_best_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("analysis.brief.MOST_CURVES", 2)
    lines = list(brief(read_store(str(REFERENCE / "permuting-mnist-256")), "OUT"))
    assert [line.split()[0] for line in lines[3:]] == ["one-power", "complex", "and", "More,"]
    assert lines[-2] == "and 3 more"


def test_a_run_and_a_plot_end_with_them(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from study.commands.run import _brief
    from study.store import TrialStore

    out = str(REFERENCE / "permuting-mnist-256")
    assert _brief(TrialStore(out)) == list(brief(read_store(out), out))
    assert _brief(TrialStore(str(tmp_path))) == []

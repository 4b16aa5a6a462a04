"""What a study chose by itself: labels without it, captions with it, and the figure of how it was chosen."""

import shutil
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow.parquet as pq
import pytest

from analysis.experiments import unusual
from analysis.figures import FIGURES
from analysis.figures.layout import caption_of
from analysis.figures.tuning import draw
from analysis.plot import experiments, plot_store, with_roles
from analysis.store import read_store
from analysis.summary import summarise
from analysis.tuned import Cell, settled
from psp_core.trial import TrialConfig
from study.spec import StudySpec
from tests.analysis.rows import row_of
from tests.study.test_tuning import TINY, spec_of, train

LRS = {"choice": [0.003, 0.03, 0.3]}


def tuned(**changes: Any) -> StudySpec:
    tune = {"search": "random", "trials": 3, "seeds": [100], "validation": 100, "settings": {"num_tasks": 2}}
    return spec_of(**{"settings": {**TINY["settings"], "lr": LRS}, "tune": tune, **changes})


@pytest.fixture(scope="module")
def out(tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = tmp_path_factory.mktemp("tuned") / "out"
    train(tuned(), folder)
    return str(folder)


def test_a_curve_has_each_width_at_its_best(out: str) -> None:
    store = read_store(out)
    assert set(store.evals["context"]) == {"none", "none, ewc"}
    assert set(store.evals["seed"]) == {0, 1}
    assert store.validated
    assert len(store.cells) == 4
    assert len(experiments_of(out)) == 1  # whatever was chosen at each width
    measured = store.trials.set_index("trial_id")
    for cell in store.cells:
        for name in cell.measured:
            assert {key: measured.loc[name, key] for key in cell.chosen} == cell.chosen


def experiments_of(out: str) -> list[Any]:
    return list(experiments(with_roles(read_store(out))))


def test_captions_say_what_was_chosen_and_nothing_was_chosen_on_test_images(out: str) -> None:
    ((_, measured),) = experiments_of(out)
    caption = caption_of(FIGURES["capacity"](measured))
    assert "Tuned on validation images, with other seeds: none lr " in caption
    assert "none, ewc lr " in caption
    assert "protect strength" in caption
    assert "chosen on the test images" not in caption
    summary = summarise(read_store(out))
    assert any(note.startswith("Tuned on validation images") for note in summary.notes)
    assert len(summary.rows) == 4  # two curves at two widths
    assert set(summary.rows["trials"]) == {2}


def test_a_setting_that_was_tuned_tells_no_experiments_apart_whatever_was_chosen() -> None:
    trials = [TrialConfig(width=width, weight_decay=decay) for width, decay in ((4, 0.0), (8, 0.1), (8, 0.2))]
    frame = pd.DataFrame([{**row_of(trial), "trial_id": str(n)} for n, trial in enumerate(trials)])
    cells = [
        Cell(cell={}, chosen={"weight_decay": trial.weight_decay}, tried=[], measured=[str(n)], search="grid")
        for n, trial in enumerate(trials[:2])
    ]
    found = settled(frame, cells)
    assert [unusual(text) for text in found["experiment"]] == [{}, {}, {"weight_decay": 0.2}]
    assert found["weight_decay"].tolist() == [0.0, 0.1, 0.2]
    assert found["tuned"].tolist()[:2] == ['["weight_decay"]'] * 2


def test_the_figure_marks_what_was_chosen(out: str) -> None:
    store = read_store(out)
    assert store.validated
    figure = draw(store.cells, store.validated.trials)
    assert len(figure.axes) == 4  # lr and strength at two widths
    rings = [line for axes in figure.axes for line in axes.get_lines() if line.get_markerfacecolor() == "none"]
    heights = sorted(round(float(line.get_ydata()[0]), 6) for line in rings)  # type: ignore[index, arg-type]
    best = [round(max(tried.accuracy for tried in cell.tried), 6) for cell in store.cells]
    assert heights == sorted([*best, *best[2:]])  # those of EWC have two settings each
    points = sum(len(line.get_xdata()) for axes in figure.axes for line in axes.get_lines()) - len(rings)  # type: ignore[arg-type]
    assert points == 2 * 3 + 2 * 3 * 2
    assert {text.get_text() for text in figure.legends[0].get_texts()} == {"none", "none, ewc"}


def test_a_part_that_was_chosen_is_named_in_the_figure_and_in_captions(tmp_path: Path) -> None:
    parts = ["none", "signed-permutation", {"name": "xdg", "gated": 0.5}, "structured-rotation", "permutation"]
    settings = {**TINY["settings"], "lr": LRS, "context": {"choice": parts}}
    tune = {"seeds": [100], "validation": 100, "settings": {"num_tasks": 2}}
    train(spec_of(variants=None, axes={"width": [8]}, settings=settings, tune=tune), tmp_path / "out")
    store = read_store(str(tmp_path / "out"))
    assert store.validated
    figure = draw(store.cells, store.validated.trials)
    (of_context,) = [axes for axes in figure.axes if axes.get_xlabel() == "context"]
    ticks = of_context.get_xticklabels()
    assert {tick.get_text() for tick in ticks} == {
        "none",
        "signed-permutation",
        "xdg 0.5",
        "structured-rotation",
        "permutation",
    }
    assert {tick.get_rotation() for tick in ticks} == {30}  # side by side they would lie on one another
    (cell,) = store.cells
    assert f"context {cell.chosen['context']}" in " ".join(summarise(store).notes)


def test_before_anything_is_measured_the_tuning_alone_is_drawn(out: str, tmp_path: Path) -> None:
    copy = tmp_path / "out"
    shutil.copytree(out, copy)
    for path in (copy / "trials").iterdir():
        if set(pq.read_table(path)["eval_on"].to_pylist()) == {"test"}:
            path.unlink()
    assert [line.rpartition("/")[2] for line in plot_store(str(copy))] == ["tuning.png"]


def test_it_is_drawn_with_the_others_and_a_damaged_record_is_no_reason_to_stop(
    out: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("analysis.plot.FIGURES", {})
    monkeypatch.setattr("analysis.plot.BY_SETTING", {})
    assert [line.rpartition("/")[2] for line in plot_store(out)] == ["tuning.png"]
    path = Path(out) / "tuning.json"
    text = path.read_text()
    path.write_text("{")
    assert read_store(out).cells == []
    path.write_text(text)

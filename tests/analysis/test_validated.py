"""Trials that were measured on validation images are never among results."""

from pathlib import Path

import pytest

from analysis.compare import compare_store
from analysis.figures import FIGURES
from analysis.figures.layout import caption_of
from analysis.plot import experiments, plot_store, with_roles
from analysis.store import StoreError, read_measurements, read_store
from tests.conftest import run_here, small_study

FEW = {"context": ["none"], "width": [4], "lr": [0.01, 0.03]}
KEPT = {**{key: value for key, value in small_study().settings.items() if key != "lr"}, "validation": 100}


def test_results_have_no_trial_that_was_measured_on_validation_images(tmp_path: Path) -> None:
    for eval_on in ("test", "validation"):
        run_here(small_study(axes=FEW, settings={**KEPT, "eval_on": eval_on}), tmp_path / "out")
    store = read_store(str(tmp_path / "out"))
    assert store.validated
    assert set(store.trials["eval_on"]) == {"test"}
    assert set(store.validated.trials["eval_on"]) == {"validation"}
    assert set(store.evals["trial_id"]) == set(store.trials["trial_id"])
    assert set(store.validated.evals["trial_id"]) == set(store.validated.trials["trial_id"])
    assert set(read_measurements(str(tmp_path / "out"))["eval_on"]) == {"test", "validation"}
    ((_, measured),) = experiments(with_roles(store))
    figure = FIGURES["capacity"](measured)
    assert "chosen on the test images" in caption_of(figure)


def test_figures_of_validation_images_say_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run_here(small_study(axes=FEW, settings={**KEPT, "eval_on": "validation"}), tmp_path / "out")
    store = read_store(str(tmp_path / "out"))
    assert store.validated is None
    ((_, measured),) = experiments(with_roles(store))
    figure = FIGURES["capacity"](measured)
    assert "chosen on the validation images" in caption_of(figure)
    assert "measured on validation images" in measured.titled("Capacity")
    with pytest.raises(StoreError, match="no trial with settings that a published value is known for"):
        compare_store(str(tmp_path / "out"))
    monkeypatch.setattr("analysis.plot.FIGURES", {"capacity": FIGURES["capacity"]})
    assert any(line.startswith("drew") for line in plot_store(str(tmp_path / "out")))

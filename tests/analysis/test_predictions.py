"""Predictions beside measurements: frames with known answers, and the figures of a small study that predicts."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from analysis.figures import FIGURES, OtherStudyError, UnsupportedError
from analysis.measured import Measured
from analysis.plot import experiments, with_roles
from analysis.predictions import MEASURED, NAMES, beside_measured, crossings, ratios
from analysis.store import read_store
from psp_core.prediction import THEORIES
from study.spec import StudySpec
from tests.conftest import run_here

FIGURES_OF_THEORY = ["predicted", "predicted-first-task"]


@pytest.fixture(scope="module")
def measured(tmp_path_factory: pytest.TempPathFactory) -> Measured:
    settings = {"dataset": "digits", "num_tasks": 3, "steps_per_task": 20, "batch_size": 16, "lr": 0.01}
    content = {
        "name": "p", "kind": "prediction", "axes": {"context": ["none", "binary"], "width": [4, 8]}, "seeds": [0, 1],
        "settings": {**settings, "predicted_tasks": 6, "noise_draws": 1},
    }  # fmt: skip
    out = tmp_path_factory.mktemp("stores") / "predicting"
    run_here(StudySpec.from_mapping(content), out)
    ((_, found),) = experiments(with_roles(read_store(str(out))))
    return found


def curve(source: str, accuracy: dict[int, float], trial: str = "a") -> pd.DataFrame:
    rows = [{"tasks_seen": number, "accuracy": value} for number, value in accuracy.items()]
    return pd.DataFrame(rows).assign(trial_id=trial, context="binary", width=8, lr=0.1, seed=0, source=source)


def test_a_curve_crosses_where_a_line_over_the_logarithm_does() -> None:
    frame = pd.concat(
        [
            curve(MEASURED, {1: 1.0, 2: 0.95, 8: 0.85}),  # halfway between 2 and 8 tasks: 4
            curve("theory", {1: 0.5, 4: 0.4}),  # halfway to 0.45 + 0.05: 2
            curve("never", {1: 1.0, 64: 0.95}),
            curve(MEASURED, {2: 1.0, 4: 0.2}, trial="no single task"),
        ]
    )
    found = crossings(frame, 0.9).set_index(["trial_id", "source"])["capacity"]
    assert found["a", MEASURED] == pytest.approx(4)
    assert found["a", "theory"] == pytest.approx(2)
    assert np.isnan(found["a", "never"])
    assert np.isnan(found["no single task", MEASURED])
    (row,) = ratios(found.reset_index().assign(context="binary", width=8, lr=0.1, seed=0)).to_dict("records")
    assert (row["source"], row["ratio"]) == ("theory", pytest.approx(0.5))


def test_every_theory_has_a_name_in_figures() -> None:
    assert list(NAMES) == list(THEORIES)


def test_what_is_stored_stands_beside_what_was_measured(measured: Measured) -> None:
    frame, first = beside_measured(measured), beside_measured(measured, of_first_task=True)
    assert set(frame["source"]) == {MEASURED, *NAMES.values()} - {NAMES["moved"]}
    assert set(first["source"]) == {MEASURED, *NAMES.values()}
    assert set(frame.loc[frame["source"] != MEASURED, "context"]) == {"binary"}
    for some in (frame, first):  # all begin with the accuracy of one task
        beginnings = some[(some["tasks_seen"] == 1) & (some["context"] == "binary")]
        assert (beginnings.groupby("trial_id", observed=True)["accuracy"].nunique() == 1).all()
    numbers = frame[frame["source"] != MEASURED].groupby("source")["tasks_seen"].unique()
    assert all(list(each) == [1, 2, 3, 4, 5, 6] for each in numbers)


@pytest.mark.parametrize("name", FIGURES_OF_THEORY)
def test_a_panel_for_each_predicted_curve_has_a_line_for_each_theory(name: str, measured: Measured) -> None:
    figure = FIGURES[name](measured)
    assert [axes.get_title() for axes in figure.axes] == ["binary, width 4", "binary, width 8"]
    sources = {MEASURED, *NAMES.values()} - ({NAMES["moved"]} if name == "predicted" else set())
    assert {text.get_text() for text in figure.legends[0].get_texts()} == sources
    for axes in figure.axes:
        assert {line.get_label() for line in axes.get_lines()} >= sources
        assert axes.get_xlabel()


def test_ratios_are_drawn_against_width(measured: Measured) -> None:
    figure = FIGURES["predicted-capacity"](measured)
    assert figure.axes[0].get_xlabel() == "width"


@pytest.mark.parametrize("name", [*FIGURES_OF_THEORY, "predicted-capacity"])
def test_figures_say_what_they_need(name: str, measured: Measured) -> None:
    with pytest.raises(OtherStudyError, match="trials that predict"):
        FIGURES[name](replace(measured, predictions=pd.DataFrame()))
    with pytest.raises(UnsupportedError, match="needs dashes for its theories, which show lr here"):
        FIGURES[name](replace(measured, roles=replace(measured.roles, dashes="lr")))

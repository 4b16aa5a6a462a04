"""Figures as a page needs them: their size, fonts, formats, captions; and which files stay."""

import re
import shutil
from functools import partial
from pathlib import Path

import matplotlib as mpl
import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure

from analysis.figures import BY_SETTING, FIGURES, UnsupportedError
from analysis.figures.layout import caption_of
from analysis.figures.styles import STYLES, style
from analysis.measured import Measured, chance
from analysis.old_stores import completed
from analysis.plot import experiments, plot_store, with_roles
from analysis.roles import Roles
from analysis.store import read_store
from analysis.tables import best_lr
from psp_core.trial import TrialConfig
from tests.analysis.rows import row_of
from tests.analysis.test_roles import store_of
from tests.conftest import run_here, small_study


@pytest.fixture
def out(small_store: Path, tmp_path: Path) -> Path:
    shutil.copytree(small_store, tmp_path / "out")
    return tmp_path / "out"


def all_figures(measured: Measured) -> list[Figure]:
    figures = []
    by_setting = [partial(draw_by, x=x) for draw_by in BY_SETTING.values() for x in measured.roles.x]
    for draw in (*FIGURES.values(), *by_setting):
        try:
            figures.append(draw(measured))
        except UnsupportedError:
            continue
    return figures


@pytest.mark.parametrize("name", STYLES)
def test_every_figure_fits_its_place_and_its_texts_can_be_read(out: Path, name: str) -> None:
    with style(name):
        ((_, measured),) = experiments(with_roles(read_store(str(out))))
        figures = all_figures(measured)
        assert len(figures) == 12
        for figure in figures:
            assert figure.get_figwidth() in (STYLES[name].column, STYLES[name].page)
            figure.canvas.draw()
            texts = [text for text in figure.findobj(mpl.text.Text) if text.get_text().strip() and text.get_visible()]
            assert min(text.get_fontsize() for text in texts) >= 6
            lowest = min(axes.get_tightbbox().y0 for axes in figure.axes)
            for legend in figure.legends:
                assert legend.get_window_extent().y1 < lowest
            box = figure.bbox
            every = [axis for axes in figure.axes for axis in (axes.xaxis, axes.yaxis)]
            ticks = [text for axis in every for text in axis.get_ticklabels()]
            for text in set(texts) - set(ticks):  # some of which stand beyond the ends of their axes, and are not drawn
                extent = text.get_window_extent()
                assert extent.x0 >= box.x0 - 1, text.get_text()
                assert extent.x1 <= box.x1 + 1, text.get_text()
                assert extent.y0 >= box.y0 - 1, text.get_text()


def test_fonts_are_kept_as_venues_and_editors_want_them(out: Path) -> None:
    for format in ("pdf", "svg", "png"):
        list(plot_store(str(out), format))
    pdf = (out / "figures" / "capacity.pdf").read_bytes()
    assert b"/Type3" not in pdf
    assert b"/TrueType" in pdf or b"/CIDFontType2" in pdf
    assert "<text" in (out / "figures" / "capacity.svg").read_text()
    assert mpl.image.imread(out / "figures" / "capacity.png").shape[1] == round(STYLES["page"].page * 300)


def test_what_an_earlier_state_left_goes_and_what_users_put_there_stays(
    out: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    few = {name: FIGURES[name] for name in ("capacity", "interference", "heatmap")}
    monkeypatch.setattr("analysis.plot.FIGURES", few)
    list(plot_store(str(out)))
    list(plot_store(str(out), "pdf"))
    figures = out / "figures"
    assert (figures / "accuracy-by-width.png").exists()  # the other format of the same state
    (figures / "mine.png").write_bytes(b"mine")
    (figures / "interference.png").write_bytes(b"changed by hand")
    for folder in ("trials", "evals"):  # a store of one width now
        for path in (out / folder).iterdir():
            path.unlink()
    store_of(out, {"context": ["none", "binary"]})
    lines = list(plot_store(str(out), "pdf"))
    assert any(line.startswith("removed ") and "accuracy-by-width.pdf" in line for line in lines)
    left = {path.name for path in figures.iterdir()}
    assert {"mine.png", "interference.png", "capacity.pdf"} <= left
    assert not {"capacity.png", "heatmap.png", "accuracy-by-width.pdf"} & left
    assert (figures / "mine.png").read_bytes() == b"mine"
    assert not any(line.startswith("removed") for line in plot_store(str(out), "pdf"))


def test_a_capacity_is_whole_and_one_that_was_not_reached_is_a_lower_bound(small_store: Path) -> None:
    evals = read_store(str(small_store)).evals
    accuracy = np.where(evals["width"] == 8, 0.9, 0.9 / evals["tasks_seen"])
    evals = evals.assign(depth=evals["width"], width=8, accuracy=accuracy)
    figure = BY_SETTING["capacity-by"](Measured(evals, roles=Roles(x=("depth",), panel=None)), "depth")
    (axes,) = figure.axes
    open_points = [line for line in axes.get_lines() if line.get_markerfacecolor() == "white" and len(line.get_xdata())]
    assert [line.get_ydata().tolist() for line in open_points] == [[3], [3]]  # none and binary at depth 8
    heights = [y for line in axes.get_lines() for y in line.get_ydata()]
    assert all(y == int(y) for y in heights)
    assert axes.get_ylim()[0] == 0
    assert "≥ 3: all tasks trained" in [text.get_text() for text in axes.texts]
    assert "median" in caption_of(figure)


# Trials that diverged


def diverging(out: Path) -> Path:
    axes = {"context": ["none"], "lr": [0.1, 3000.0]}
    settings = {**small_study().settings, "optimiser": "sgd", "momentum": 0.9, "width": 4}
    del settings["lr"]
    run_here(small_study(axes=axes, seeds=list(range(8)), settings=settings), out)
    return out


def test_a_trial_that_diverged_counts_as_chance_when_a_learning_rate_is_chosen() -> None:
    ids = [f"{lr}-{seed}" for lr, n in ((0.1, 8), (3000.0, 3)) for seed in range(n)]
    evals = pd.DataFrame({"trial_id": ids, "context": "none", "width": 8, "num_tasks": 1, "tasks_seen": 1, "task": 0})
    evals = evals.assign(lr=[0.1] * 8 + [3000.0] * 3, accuracy=[0.3] * 8 + [0.5] * 3, seed=[*range(8), *range(3)])
    lost = pd.DataFrame({"context": "none", "width": 8, "lr": 3000.0, "chance": 0.1}, index=range(5))
    assert best_lr(evals)["lr"].unique().tolist() == [3000.0]
    assert best_lr(evals, diverged=lost)["lr"].unique().tolist() == [0.1]  # 0.3 against 0.25
    assert best_lr(evals, diverged=lost.head(1))["lr"].unique().tolist() == [3000.0]  # 0.3 against 0.4


def test_captions_say_which_trials_diverged_and_of_how_many_the_means_are(tmp_path: Path) -> None:
    store = read_store(str(diverging(tmp_path / "out")))
    lost = len(store.diverged)
    assert 0 < lost <= 8
    assert set(store.diverged["lr"]) == {3000.0}
    assert store.left_out[0].startswith(f"{lost} diverged ")
    ((_, measured),) = experiments(with_roles(store))
    assert measured.best_lr["lr"].unique().tolist() == [0.1]
    curve, rates = caption_of(FIGURES["capacity"](measured)), caption_of(FIGURES["learning-rate"](measured))
    assert "Mean of 8 seeds" in curve
    assert "Each curve at its best lr of 0.1" in curve
    assert f"Diverged, counted as chance: {lost} of 8 of none, lr 3000." in rates
    alone = Measured(store.evals[store.evals["lr"] > 1], store.trials, diverged=store.diverged)
    if lost < 8:
        text = caption_of(FIGURES["capacity"](alone))
        assert f"Diverged, and in no mean: {lost} of 8 of width 4, none, lr 3000." in text


def test_each_curve_says_its_learning_rate_where_they_differ(tmp_path: Path) -> None:
    out = store_of(tmp_path, {"context": ["none", "binary"], "depth": [1, 2, 3], "lr": [0.1, 0.01]})
    store = read_store(out)
    is_best = (store.evals["lr"] == 0.1) == ((store.evals["context"] == "none") | (store.evals["depth"] == 3))
    evals = store.evals.assign(accuracy=np.where(is_best, 0.9, 0.1))
    ((_, measured),) = experiments(with_roles(store))
    figure = FIGURES["capacity"](Measured(evals, store.trials, roles=measured.roles))
    assert (
        "Each curve at its best lr of 0.01, 0.1, chosen on the test images: none 0.1; binary 0.1 at depth 3, else 0.01."
        in caption_of(figure)
    )


def test_chance_is_that_of_the_data_sets_and_streams_there_are() -> None:
    split = {"stream": "split", "classes_per_task": 5}
    expected = {
        0.1: TrialConfig(dataset="mnist"),
        0.2: TrialConfig(dataset="cifar-100", model="resnet-18", num_tasks=20, **split),
        0.01: TrialConfig(dataset="cifar-100", model="resnet-18", num_tasks=20, keep_labels=True, **split),
    }
    for value, trial in expected.items():
        assert chance(pd.DataFrame([row_of(trial)])).tolist() == [value]
        old = pd.DataFrame([{**trial.row, "trial_id": "0", "method": "psp"}])
        assert chance(completed(old)).tolist() == [value]


def test_lists_of_figures_are_printed_as_files(out: Path) -> None:
    for line in plot_store(str(out)):
        assert re.fullmatch(rf"drew {out}/figures/[a-z-]+\.png", line)

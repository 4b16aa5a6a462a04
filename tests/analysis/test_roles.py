"""Any setting of a study can be the x, colour, dashes or panels of its figures, and none is averaged over."""

import itertools
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml

from analysis.experiments import settings_shown
from analysis.figures import BY_SETTING, FIGURES
from analysis.figures.base import Curves
from analysis.figures.layout import caption_of
from analysis.plot import experiments, plot_store, with_roles
from analysis.roles import Roles
from analysis.store import StoreError, read_store
from analysis.tables import settings_of
from psp_core.trial import TrialConfig
from study.spec import StudySpec
from study.store import TrialStore
from tests.analysis.rows import row_of
from tests.analysis.test_store import README
from tests.conftest import run_here

TOP_K = {"method": "supsup", "context": "none", "masks": "top-k"}


def store_of(
    out: Path, axes: Mapping[str, Sequence[object]], seeds: int = 2, variants: Sequence[Mapping[str, object]] = ({},)
) -> str:
    """A store of every combination, three tasks each, with accuracies that nobody measured."""
    combinations = [dict(zip(axes, values, strict=True)) for values in itertools.product(*axes.values())]
    settings = {"dataset": "digits", "width": 8, "num_tasks": 3}
    trials = [
        TrialConfig(**{**settings, **variant, **chosen, "seed": seed})
        for variant, chosen, seed in itertools.product(variants, combinations, range(seeds))
    ]
    rng, pack = np.random.default_rng(0), f"pack-{len(list(out.glob('trials/*')))}"
    rows = [
        {**row_of(trial), "trial_id": f"{pack}-{place}", "num_params": 100,
         "context_bytes_per_task": 8, "total_bytes": 500}
        for place, trial in enumerate(trials)
    ]  # fmt: skip
    evals = [
        {"trial_id": row["trial_id"], "tasks_seen": seen, "task": task, "accuracy": float(rng.uniform(0.2, 1))}
        for row in rows
        for seen in (1, 2, 3)
        for task in range(seen)
    ]
    TrialStore(str(out)).write_pack(pack, rows, evals)
    return str(out)


def drawn(lines: list[str]) -> list[str]:
    return sorted(line.rpartition("/")[2].removesuffix(".png") for line in lines if line.startswith("drew"))


def test_the_readmes_example_has_one_set_of_figures_that_answers_it(tmp_path: Path) -> None:
    (block,) = (text for text in README.read_text().split("```yaml")[1:] if "Does depth help?" in text)
    study = yaml.safe_load(block.partition("```")[0])
    study["settings"] |= {"dataset": "digits", "width": 4, "num_tasks": 3, "steps_per_task": 2, "batch_size": 8}
    run_here(StudySpec.from_mapping(study), tmp_path / "out")
    lines = list(plot_store(str(tmp_path / "out")))
    assert drawn(lines) == [
        "accuracy-by-depth", "bytes", "capacity", "capacity-by-depth", "first-task", "forgetting",
        "front-of-bytes", "front-of-operations", "heatmap", "interference", "learning-rate", "r-matrix", "through-time",
    ]  # fmt: skip
    assert len(lines) == 13  # and nothing is said of figures that other studies have
    whole = with_roles(read_store(str(tmp_path / "out")))
    assert whole.roles == Roles(x=("depth",), hue="context", dashes=None, panel="depth")
    ((_, measured),) = experiments(whole)
    figure = BY_SETTING["accuracy-by"](measured, "depth")
    (axes,) = figure.axes
    assert axes.get_xlabel() == "depth"
    assert {bar.get_label() for bar in axes.containers} == {"none", "binary", "complex"}
    assert "best lr of 0.0001, 0.001, chosen on the test images: " in caption_of(figure)
    assert "All: digits, permuting, mlp, width 4, 2 steps a task, 8 images a step, rmsprop" in caption_of(figure)


WIDTHS, DEPTHS, OPTIMISERS, CONTEXTS = [8, 16], [1, 2, 3], ["sgd", "adam"], ["none", "binary"]


@pytest.mark.parametrize(
    ("axes", "roles"),
    [
        ({"context": CONTEXTS}, Roles(x=(), hue="context", panel=None)),
        ({"context": CONTEXTS, "width": WIDTHS}, Roles(x=("width",), hue="context", panel="width")),
        ({"width": WIDTHS}, Roles(x=("width",), hue="width", panel=None)),
        ({"depth": DEPTHS, "optimiser": OPTIMISERS}, Roles(x=("depth",), hue="optimiser", panel="depth")),
        (
            {"depth": DEPTHS, "optimiser": OPTIMISERS, "context": CONTEXTS},
            Roles(x=("depth",), hue="context", panel="depth", dashes="optimiser"),
        ),
        ({"width": WIDTHS, "depth": DEPTHS}, Roles(x=("depth", "width"), hue="width", panel="depth")),
    ],
)
def test_roles_follow_from_what_varies(tmp_path: Path, axes: dict[str, list[object]], roles: Roles) -> None:
    assert with_roles(read_store(store_of(tmp_path, axes))).roles == roles


FOUR = {"context": CONTEXTS, "width": WIDTHS, "depth": DEPTHS, "optimiser": OPTIMISERS}


@pytest.mark.parametrize(
    "chosen",
    [
        {},
        {"x": "optimiser"},
        {"x": "depth", "hue": "context", "panel": "optimiser"},
        {"x": "depth", "hue": "context", "panel": "optimiser", "dashes": "width"},
        {"hue": "depth", "panel": "context"},
        {"dashes": "depth", "hue": "optimiser"},
        {"hue": "lr", "x": "lr"},
    ],
)
def test_whatever_is_chosen_no_curve_has_trials_of_two_settings(tmp_path: Path, chosen: dict[str, str]) -> None:
    store = read_store(store_of(tmp_path, {**FOUR, "lr": [0.1, 0.01]}))
    whole, shown = with_roles(store, chosen), settings_shown(store.evals)
    for besides in ((), whole.roles.x):
        seen = 0
        for _, measured in experiments(whole, besides):
            roles = measured.roles.against(besides[0]) if besides else measured.roles
            by = list(dict.fromkeys(["trial_id", *shown, "lr", *roles.settings]))
            trials = settings_of(measured.evals, by)
            for _, panel in Curves(trials, roles).panels:
                for _, curve in Curves(trials, roles).of(panel):
                    seen += len(curve)
                    alike = [name for name in shown if name not in besides]
                    assert (curve[alike].nunique(dropna=False) == 1).all()
        assert seen == len(store.trials)  # and each is in one curve


def test_chosen_settings_are_the_x_the_colours_and_the_panels(tmp_path: Path) -> None:
    out = store_of(tmp_path, {"context": CONTEXTS, "depth": DEPTHS, "optimiser": OPTIMISERS})
    lines = list(plot_store(out, x="depth", hue="context", panel="optimiser"))
    assert {"capacity-by-depth", "accuracy-by-depth"} <= set(drawn(lines))
    ((_, measured),) = experiments(
        with_roles(read_store(out), {"x": "depth", "hue": "context", "panel": "optimiser"}), ["depth"]
    )
    figure = BY_SETTING["capacity-by"](measured, "depth")
    assert [axes.get_title() for axes in figure.axes] == ["optimiser adam", "optimiser sgd"]


def test_what_has_no_role_left_has_files_of_its_own_that_say_so(tmp_path: Path) -> None:
    out = store_of(tmp_path, {**FOUR, "steps_per_task": [10, 20], "batch_size": [4, 8]})
    suffixes = {suffix: measured for suffix, measured in experiments(with_roles(read_store(out)))}
    assert "-batch_size=8-depth=3-steps_per_task=20" in suffixes
    title = FIGURES["capacity"](suffixes["-batch_size=8-depth=3-steps_per_task=20"]).get_suptitle()
    assert "batch size 8, depth 3, steps a task 20" in " ".join(title.split())


@pytest.mark.parametrize(
    ("chosen", "message"),
    [
        ({"x": "dept"}, "--x dept is no setting; depth is. What varies here: context, depth"),
        ({"panel": "width"}, "--panel width has nothing to show: it is 8 in every trial. What varies here"),
        ({"hue": "depth", "dashes": "depth"}, "depth cannot be two of hue, dashes and panel"),
    ],
)
def test_a_wrong_choice_is_answered_with_what_there_is(tmp_path: Path, chosen: dict[str, str], message: str) -> None:
    out = store_of(tmp_path, {"context": CONTEXTS, "depth": DEPTHS})
    with pytest.raises(StoreError, match=message):
        list(plot_store(out, **chosen))


def test_a_setting_that_labels_speak_of_is_an_axis_too(tmp_path: Path) -> None:
    out = store_of(tmp_path, {"sparsity": [2.0, 4.0, 8.0], "transfer": ["random", "previous"]}, variants=[TOP_K])
    store_of(tmp_path, {"context": ["binary"]})
    whole = with_roles(read_store(out))
    assert whole.roles.x == ("sparsity",)
    ((_, measured),) = experiments(whole, ["sparsity"])
    figure = BY_SETTING["accuracy-by"](measured, "sparsity")
    (axes,) = figure.axes
    assert {str(bar.get_label()) for bar in axes.containers} == {"supsup, top-k", "supsup, top-k, previous scores"}
    assert "Not shown: what has no sparsity." in caption_of(figure)
    chosen = with_roles(read_store(out), {"panel": "transfer", "hue": "sparsity", "dashes": "context"})
    assert set(chosen.evals["context"].unique()) == {"supsup, top-k", "binary"}


def test_trials_without_a_setting_have_a_curve_too(tmp_path: Path) -> None:
    trunk = {"trunk": "first-task", "heads": "per-task", "context": "none"}
    out = store_of(tmp_path, {"later_lr": [None, 0.1]}, variants=[trunk])
    ((_, measured),) = experiments(with_roles(read_store(out)))
    figure = FIGURES["capacity"](measured)
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["0.1", "default"]
    assert len(figure.axes[0].collections) == 2  # their bands


def test_frames_of_every_role_are_read_in_order() -> None:
    frame = pd.DataFrame({"context": ["zz", "binary", "none"], "depth": [10, 9, 2]})
    shown = Curves(frame, Roles(hue="context", panel="depth"))
    assert [title for title, _ in shown.panels] == ["depth 2", "depth 9", "depth 10"]
    assert list(shown.hues) == ["none", "binary", "zz"]

import errno
import itertools
import shutil
from pathlib import Path

import matplotlib as mpl
import pandas as pd
import pyarrow.fs as pafs
import pytest

from analysis.figures import BY_SETTING, FIGURES, UnsupportedError, crosstalk
from analysis.figures.layout import caption_of
from analysis.figures.looks import VARIANTS, looks_of_contexts
from analysis.measured import Measured
from analysis.plot import plot_store, strata, suffix_of
from analysis.roles import Roles
from analysis.store import StoreError, read_store
from psp_core.contexts import CONTEXTS
from study.spec import StudySpec
from tests.conftest import run_here


@pytest.fixture
def evals(small_store: Path) -> pd.DataFrame:
    return read_store(str(small_store)).evals.astype({"trial_id": object})  # to be changed by tests


def test_every_supported_figure_is_a_whole_image(small_store: Path) -> None:
    lines = list(plot_store(str(small_store)))
    drawn = {name for name in FIGURES if any(f"figures/{name}.png" in line for line in lines)}
    of_other_studies = {name for name in FIGURES if name.startswith("predicted")}
    of_other_studies |= {"learning-rate", "around-the-circle", "bytes", "masks-used", "loss"}
    assert drawn == set(FIGURES) - of_other_studies
    assert len(lines) == len(drawn) + 1  # and accuracy by width; nobody is told what another study would have
    for name in drawn:
        image = mpl.image.imread(small_store / "figures" / f"{name}.png")
        assert min(image.shape[:2]) > 300
        assert image.std() > 0.01  # not blank


def test_a_capacity_figure_shows_each_width_and_context_and_names_its_bands(evals: pd.DataFrame) -> None:
    figure = FIGURES["capacity"](Measured(evals))
    assert [axes.get_title() for axes in figure.axes] == ["width 4", "width 8"]
    for axes in figure.axes:
        assert len(axes.get_lines()) == 2 + 2  # none and binary, chance and a single task
        assert len(axes.collections) == 2  # their bands
    assert "bands: 95% interval of the mean" in caption_of(figure)
    assert "(digits)" in figure.get_suptitle()


def test_every_context_has_a_colour_of_its_own_whatever_is_beside_it() -> None:
    looks = looks_of_contexts([*CONTEXTS, "of-somebody-else"])
    assert len({look.colour for look in looks.values()}) == len(CONTEXTS) + 1
    assert looks_of_contexts(["binary", "gaussian"]) == {name: looks[name] for name in ("binary", "gaussian")}


def test_curves_are_told_apart_without_colours_too() -> None:
    looks = looks_of_contexts([*CONTEXTS, *VARIANTS, *(f"binary x{count}" for count in range(2, 11))])
    assert len({(look.marker, look.dashes) for look in looks.values()}) == len(looks)
    of_paper = [looks[name] for name in ("none", "binary", "complex", "one-power", "rotation")]
    assert len({look.marker for look in of_paper}) == len({look.dashes for look in of_paper}) == 5


def test_thirty_curves_have_thirty_colours_and_those_of_the_paper_keep_theirs() -> None:
    labels = [*CONTEXTS, *VARIANTS]
    labels += [f"binary x{count}" for count in range(2, 32 - len(labels))]
    colours = {label: look.colour for label, look in looks_of_contexts(labels).items()}
    assert len(labels) >= 30
    for one, other in itertools.combinations(colours.values(), 2):
        assert max(abs(a - b) for a, b in zip(one, other, strict=True)) > 0.05
    assert {label: look.colour for label, look in looks_of_contexts(VARIANTS).items()} == VARIANTS


def test_one_seed_has_no_bands_and_says_so(evals: pd.DataFrame) -> None:
    figure = FIGURES["capacity"](Measured(evals[evals["seed"] == 0]))
    assert "One seed, so no bands." in caption_of(figure)


@pytest.mark.parametrize(
    ("name", "where", "reason"),
    [
        ("capacity", "tasks_seen == 1", "at least two numbers of tasks"),
        ("first-task", "tasks_seen == 1", "at least two tasks"),
        ("interference", "tasks_seen == 1", "measured again"),
        ("heatmap", "width == 4", "at least two values of width"),
        ("learning-rate", "width == 4", "at least two values of lr"),
        ("around-the-circle", "width == 4", "rotating stream"),
        ("bytes", "width == 4", "three contexts of different sizes"),
    ],
)
def test_a_figure_the_data_do_not_support_says_why(evals: pd.DataFrame, name: str, where: str, reason: str) -> None:
    with pytest.raises(UnsupportedError, match=reason):
        FIGURES[name](Measured(evals.query(where)))


@pytest.mark.parametrize(
    ("where", "reason"), [("depth == 1", "two values of depth"), ("tasks_seen != 2", "eval_tasks: all")]
)
def test_capacity_by_a_setting_says_why_it_is_not_drawn(evals: pd.DataFrame, where: str, reason: str) -> None:
    deep = evals.assign(depth=evals["width"] // 4, width=8)
    with pytest.raises(UnsupportedError, match=reason):
        BY_SETTING["capacity-by"](Measured(deep.query(where), roles=Roles(x=("depth",))), "depth")


def test_learning_rates_are_drawn_where_there_are_two(evals: pd.DataFrame) -> None:
    other = evals.assign(lr=0.1, trial_id=evals["trial_id"] + "x")
    figure = FIGURES["learning-rate"](Measured(pd.concat([evals, other])))
    assert figure.axes[0].get_xscale() == "log"
    assert "best lr" not in caption_of(figure)


def test_five_widths_take_two_rows_and_every_panel_has_its_numbers(evals: pd.DataFrame) -> None:
    wide = pd.concat(
        [evals.assign(width=evals["width"] * 2**i, trial_id=evals["trial_id"] + str(i)) for i in (0, 2, 4)]
    )
    figure = FIGURES["capacity"](Measured(wide))
    assert [axes.get_title() for axes in figure.axes] == [f"width {w}" for w in (4, 8, 16, 32, 64, 128)]
    figure.canvas.draw()
    for axes in figure.axes:
        assert any(label.get_visible() and label.get_text() for label in axes.get_xticklabels())


def test_heat_maps_are_alike_where_contexts_were_measured_at_different_widths(evals: pd.DataFrame) -> None:
    other = evals[evals["context"] == "binary"].assign(context="complex", width=16)
    other["trial_id"] += "x"
    figure = FIGURES["heatmap"](Measured(pd.concat([evals, other])))
    maps = [axes.collections[0].get_array().shape for axes in figure.axes[:3]]
    assert maps == [(3, 3)] * 3
    assert [axes.get_title() for axes in figure.axes[:3]] == ["none", "binary", "complex"]


def test_titles_tell_uneven_seeds_and_a_chosen_lr(evals: pd.DataFrame) -> None:
    worse = evals.assign(lr=0.1, trial_id=evals["trial_id"] + "x", accuracy=evals["accuracy"] / 2)
    both = caption_of(FIGURES["capacity"](Measured(pd.concat([evals, worse]))))
    assert f"Each curve at its best lr of {', '.join(f'{lr:g}' for lr in sorted([evals['lr'].iloc[0], 0.1]))}" in both
    uneven = evals[(evals["context"] == "none") | (evals["seed"] == 0)]
    assert "Mean of 1 to 2 seeds: none 2, binary 1;" in caption_of(FIGURES["capacity"](Measured(uneven)))


def test_trials_that_differ_in_what_no_figure_shows_are_never_averaged(evals: pd.DataFrame) -> None:
    both = pd.concat([evals, evals.assign(depth=5, trial_id=evals["trial_id"] + "x")])
    assert [suffix_of(where) for where, _ in strata(both)] == ["-depth=2", "-depth=5"]
    assert [suffix_of(where) for where, _ in strata(evals)] == [""]


def test_curves_that_have_a_learning_rate_each_say_nothing_of_it(evals: pd.DataFrame) -> None:
    one_each = evals.assign(lr=evals["context"].map({"none": 0.1, "binary": 0.01}).astype(float))
    with pytest.raises(UnsupportedError, match="a curve with at least two values of lr"):
        FIGURES["learning-rate"](Measured(one_each))


def test_crosstalk_is_drawn_beside_the_theory(tmp_path: Path) -> None:
    axes = {"context": ["binary", "rotation", "mask"], "width": [16, 32], "support": [1.0, 0.25]}
    spec = StudySpec.from_mapping(
        {"name": "r", "kind": "retrieval", "axes": axes, "settings": {"num_tasks": 8, "num_draws": 1}}
    )
    run_here(spec, tmp_path / "out")
    store = read_store(str(tmp_path / "out"))
    assert len(store.crosstalk) == 3 * 2 * 2 * 3
    assert list(plot_store(str(tmp_path / "out"))) == [
        f"drew {tmp_path}/out/figures/crosstalk-support={support}.png" for support in ("0.25", "1")
    ]
    rows = store.crosstalk[store.crosstalk["support"] == 1]
    figure = crosstalk(rows)
    assert [axes.get_title() for axes in figure.axes] == ["N = 16", "N = 32"]
    (axes, _) = figure.axes
    assert [label.get_text() for label in axes.get_yticklabels()] == ["binary", "rotation", "mask"]
    of_four = rows[(rows["num_models"] == 4) & (rows["width"] == 16)].set_index("context")
    _, points, _, theory = axes.get_lines()
    for x, row in points.get_xydata():
        context = ("binary", "rotation", "mask")[int(row)]
        assert x == pytest.approx(of_four.loc[context, "second_moment"] * 16 / 3)
    of_16 = rows[rows["width"] == 16]
    predicted = (of_16["predicted"] * 16 / (of_16["num_models"] - 1)).groupby(of_16["context"]).mean()
    for x, row in theory.get_xydata():
        assert x == pytest.approx(predicted[("binary", "rotation", "mask")[int(row)]], nan_ok=True)
    assert "all inputs in use" in figure.get_suptitle()


def test_equal_bytes_counts_weights_once_and_the_tasks_stored_by_then(small_store: Path) -> None:
    store = read_store(str(small_store))
    figure = FIGURES["equal-bytes"](Measured(store.evals, store.trials))
    assert [axes.get_title() for axes in figure.axes] == ["1 task", "3 tasks"]  # nearest to a tenth, ... of them
    trials = store.trials[store.trials["context"] == "binary"].drop_duplicates("width").sort_values("width")
    per_task = 64 / 8 + 2  # a bit for each input of three layers, of which 4 take a byte as 8 do
    for number, axes in zip((1, 3), figure.axes, strict=True):
        line = axes.get_lines()[1]  # none, binary
        assert line.get_xdata() == pytest.approx((4 * trials["num_params"] + number * per_task).to_numpy())


def test_masks_used_shows_each_threshold(tmp_path: Path) -> None:
    spec = StudySpec.from_mapping(
        {
            "name": "nns",
            "axes": {"new_mask_eps": [0.01, 1000.0]},
            "settings": {
                "dataset": "digits", "method": "supsup", "context": "none", "task_inference": "entropy-one-shot",
                "shared_labels": True, "superfluous": 20, "width": 16, "num_tasks": 3,
                "steps_per_task": 4, "steps_per_decision": 2,
            },
        }
    )  # fmt: skip
    run_here(spec, tmp_path / "store")
    store = read_store(str(tmp_path / "store"))
    masks, purity, accuracy = FIGURES["masks-used"](Measured(store.evals, store.trials)).axes
    few, many = masks.get_lines()[0].get_ydata()
    assert (few, many) == tuple(store.trials.sort_values("new_mask_eps")["num_masks"])
    assert few < many == 6  # twice the tasks
    assert purity.get_lines()[0].get_xdata().tolist() == accuracy.get_lines()[0].get_xdata().tolist() == [0.01, 1000]


def test_a_full_disk_leaves_no_half_a_figure(
    small_store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was drawn before stays, and what could not be written is not there."""
    out = tmp_path / "copy"
    shutil.copytree(small_store, out)
    list(plot_store(str(out)))
    before = {path.name: path.read_bytes() for path in (out / "figures").iterdir()}

    class Full:
        """A stream of a disk that has no room."""

        def __init__(self, path: str) -> None:
            Path(path).touch()

        def __enter__(self) -> "Full":
            return self

        def __exit__(self, *error: object) -> None:
            pass

        def write(self, content: bytes) -> None:
            raise OSError(errno.ENOSPC, "No space left on device")

    class FullDisk(pafs.LocalFileSystem):
        def open_output_stream(self, path: str) -> Full:
            return Full(path)

    monkeypatch.setattr("analysis.folder.open_folder", lambda out: (FullDisk(), out))
    with pytest.raises(StoreError, match=r"cannot be written: .*No space left on device"):
        list(plot_store(str(out)))
    assert {path.name: path.read_bytes() for path in (out / "figures").iterdir()} == before

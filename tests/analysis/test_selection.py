"""A part of a store: what is drawn of it, that looks stay, and `analysis.load`."""

from pathlib import Path

import matplotlib as mpl
import pytest
from matplotlib.figure import Figure
from typer.testing import CliRunner

from analysis import figures, load
from analysis.plot import plot_store
from analysis.selection import parsed, select
from analysis.store import StoreError, read_store
from study.cli import app
from tests.analysis.test_roles import store_of

EWC = [{"protect": "ewc", "protect_strength": strength} for strength in (1.0, 10.0)]


@pytest.fixture
def out(tmp_path: Path) -> str:
    """Six curves, of which four have no colour that is kept for them: two that differ in a number alone."""
    store_of(tmp_path / "out", {"context": ["none", "binary"], "width": [4, 8]})
    return store_of(tmp_path / "out", {"context": ["none", "binary"], "width": [4, 8]}, variants=EWC)


def looks(figure: Figure) -> dict[str, tuple[object, ...]]:
    """Colour, marker and dashes of each entry of the legend."""
    (legend,) = figure.legends
    lines = zip(legend.get_texts(), legend.get_lines(), strict=True)
    return {text.get_text(): (line.get_color(), line.get_marker(), line.get_linestyle()) for text, line in lines}


def test_a_selection_has_the_trials_asked_for_and_their_measurements(out: str) -> None:
    whole = read_store(out)
    some = select(whole, {"context": ["binary"], "width": [8]})
    assert set(some.trials["context"]) == {"binary"}
    assert set(some.evals["context"]) == {"binary", "binary, ewc 1", "binary, ewc 10"}
    assert set(some.evals["width"]) == {8}
    assert len(some.evals) == len(whole.evals) / 4
    one = select(whole, {"curve": ["none, ewc 1"]})
    assert set(one.evals["context"]) == {"none, ewc 1"}
    assert select(whole, {}) is whole


def test_what_is_written_is_found_by_text_and_labels_keep_their_commas(out: str) -> None:
    whole = read_store(out)
    texts = ["curve=none, ewc 1", "curve=binary", "width=4,8.0"]
    assert parsed(texts, whole) == {"curve": ["none, ewc 1", "binary"], "width": ["4", "8.0"]}
    some = select(whole, parsed(texts, whole))
    assert set(some.evals["context"]) == {"none, ewc 1", "binary"}
    assert set(some.evals["width"]) == {4, 8}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("context", "names no values"),
        ("contex=binary", "'contex' is no setting of this store; 'context' is"),
        ("width=16", "No trial has width=16; there is 4, 8"),
    ],
)
def test_what_cannot_be_selected_says_why(out: str, text: str, message: str) -> None:
    whole = read_store(out)
    with pytest.raises(StoreError, match=message):
        select(whole, parsed([text], whole))


def test_no_trial_may_have_all_that_is_asked_for(tmp_path: Path) -> None:
    store_of(tmp_path, {"context": ["none"], "width": [4]})
    whole = read_store(store_of(tmp_path, {"context": ["binary"], "width": [8]}))
    with pytest.raises(StoreError, match="No trial of this store has context=none and width=8 together"):
        select(whole, {"context": ["none"], "width": [8]})


@pytest.mark.parametrize("hue", ["context", "width"])
def test_a_look_does_not_depend_on_what_is_beside_it(out: str, hue: str) -> None:
    whole = looks(figures.capacity(load(out, hue=hue)))
    assert len(set(whole.values())) == len(whole)
    for text in whole:
        some = load(out, {"curve" if hue == "context" else hue: [text]}, hue=hue)
        assert looks(figures.capacity(some)) == {text: whole[text]}


def test_an_experiment_is_loaded_and_drawn_whatever_matplotlib_is_set_to(out: str, tmp_path: Path) -> None:
    with mpl.rc_context({"font.size": 30, "axes.labelsize": 30}):
        figure = figures.capacity(load(out))
    assert isinstance(figure, Figure)
    assert figure.axes[0].xaxis.label.get_size() == 7.5
    figures.save(figure, tmp_path / "one.png")
    list(plot_store(out))
    assert (tmp_path / "one.png").read_bytes() == Path(out, "figures", "capacity.png").read_bytes()


def test_several_experiments_are_not_loaded_as_one(tmp_path: Path) -> None:
    names = {"context": ["none", "binary"], "width": [4, 8], "depth": [1, 2], "optimiser": ["adam", "sgd"]}
    out = store_of(tmp_path, {**names, "steps_per_task": [10, 20, 30, 40, 50]}, seeds=1)
    with pytest.raises(StoreError, match=r"holds 10 experiments.*depth 1, steps a task 10; .*Name one with select"):
        load(out)
    one = load(out, {"depth": [1], "steps_per_task": [10]})
    assert (set(one.evals["depth"]), set(one.evals["optimiser"])) == ({1}, {"adam", "sgd"})


def test_the_command_draws_what_is_selected_in_all_formats(out: str) -> None:
    options = ["--select", "context=binary", "--select", "protect=none", "--format", "png,pdf", "--style", "paper"]
    done = CliRunner().invoke(app, ["plot", out, *options])
    assert done.exit_code == 0
    assert f"drew {out}/figures/capacity.{{png,pdf}}" in done.output
    made = {path.name for path in Path(out, "figures").iterdir()}
    assert {"capacity.png", "capacity.pdf"} <= made
    assert mpl.image.imread(Path(out, "figures", "capacity.png")).shape[1] == 990  # 3.3 inches
    for options, message in ((["--style", "poster"], "style='poster'"), (["--format", "png,gif"], "format='gif'")):
        with pytest.raises(StoreError, match=message):
            CliRunner().invoke(app, ["plot", out, *options], catch_exceptions=False)


def test_every_figure_that_is_drawn_is_a_function_of_the_package() -> None:
    functions = [getattr(figures, name) for name in figures.__all__]
    for draw in (*figures.FIGURES.values(), *figures.BY_SETTING.values()):
        assert draw in functions

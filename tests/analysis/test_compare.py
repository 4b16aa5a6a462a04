import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType

import matplotlib as mpl
import pandas as pd
import pytest

from analysis import compare_plot
from analysis.compare import Comparison, compare_store
from analysis.compare_plot import draw_comparisons
from analysis.figures.layout import caption_of
from analysis.old_stores import completed
from analysis.published import QUANTITIES, SOURCES, published
from analysis.store import StoreError
from study import cli
from study.shipped import shipped_studies
from study.spec import load_study
from study.store import TrialStore
from tests.analysis.rows import row_of

PERMUTING = {
    "status": "ok", "context": "binary", "stream": "permuting", "dataset": "mnist", "model": "mlp", "width": 512,
    "depth": 2, "num_tasks": 5, "lr": 1e-4, "steps_per_task": 1000, "batch_size": 128, "optimiser": "rmsprop",
    "momentum": 0.0, "permute_first": False,
}  # fmt: skip
ROTATING = {
    **PERMUTING, "stream": "rotating", "dataset": "fashion-mnist", "width": 256, "depth": 3, "num_tasks": 10,
    "num_cycles": 50, "steps_per_task": 100,
}  # fmt: skip
INCREMENTAL = {
    **PERMUTING, "stream": "incremental", "dataset": "cifar-10-100", "model": "resnet-18", "width": 64,
    "num_tasks": 5, "steps_per_task": 20_000, "lr": 1e-3,
}  # fmt: skip

Accuracy = Callable[[int, int], float | None]  # of task j after so many were trained; None where not measured


def add_trials(
    out: Path,
    settings: dict[str, object],
    accuracy: Accuracy,
    offsets: Sequence[float] = (0.0,),
    curve: Mapping[int, float] = MappingProxyType({}),
    **changes: object,
) -> str:
    """Store a trial for each offset, its seed, whose accuracies lie that much above `accuracy(tasks_seen, task)`.

    `curve` has task 0's by step, where that was measured within tasks too.
    """
    trial = {**settings, **changes}
    name = "-".join(str(value) for value in trial.values())
    trials = [{**trial, "trial_id": f"{name}-{seed}", "seed": seed} for seed in range(len(offsets))]
    visits, num_tasks = (
        int(str(trial["num_tasks"])) * int(str(trial.get("num_cycles", 1))),
        int(str(trial["num_tasks"])),
    )
    evals = [
        {"trial_id": row["trial_id"], "tasks_seen": seen, "task": task, "accuracy": value + offset}
        for row, offset in zip(trials, offsets, strict=True)
        for seen in range(1, visits + 1)
        for task in range(min(seen, num_tasks))
        if (value := accuracy(seen, task)) is not None
    ]
    curves = [
        {"trial_id": row["trial_id"], "step": step, "task": 0, "accuracy": value + offset}
        for row, offset in zip(trials, offsets, strict=True)
        for step, value in curve.items()
    ]
    TrialStore(str(out)).write_pack(f"pack-{len(list(out.glob('trials/*')))}", trials, evals, others={"curves": curves})
    return str(out)


def tables(out: Path | str) -> list[list[str]]:
    return [comparison.table().splitlines() for comparison in compare_store(str(out))]


def rows(table: list[str]) -> dict[tuple[str, str, str], list[str]]:
    """A table's cells by width, context and who measured."""
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in table if line.startswith("|")][2:]
    return {(width, context, who): numbers for width, context, who, *numbers in cells}


def flat(seen: int, task: int) -> float | None:
    return 0.96 if task == 0 else None


# What is published


def test_published_values_are_fractions_with_a_source() -> None:
    values = published()
    known = values["value"].dropna()
    assert known.between(0, 1).all()
    unknown = values[values["value"].isna()]
    assert unknown["certainty"].str.endswith("not in our sheet").all()
    assert len(unknown) == 4 + 18 + 18 + 18 + 6  # of SupSup three plots and a table
    assert set(values["source"]) == set(SOURCES)
    assert set(values["quantity"]) == set(QUANTITIES)
    assert values[["certainty", "stream", "dataset", "model", "step"]].notna().all(axis=None)
    assert not values.duplicated(["source", "quantity", "width", "context", "step"]).any()
    assert (values["low"].isna() | values["value"].between(values["low"], values["high"])).all()


@pytest.mark.parametrize(
    ("source", "step", "expected"),
    [
        (
            "PSP Fig. 3 left",
            50_000,
            {"rotation": 0.94, "one-power": 0.862, "complex": 0.79, "binary": 0.689, "none": 0.1},
        ),
        ("SupSup's authors on PSP", 100_000, {"rotation": 0.878}),
        (
            "PSP Figs. 4b and 5",
            49_500,
            {
                "complex": 0.843,
                "one-power": 0.848,
                "binary": 0.831,
                "rotation": 0.859,
                "none": 0.522,
                "complex, local-mix": 0.852,
                "complex x100": 0.737,
                "complex x100, local-mix": 0.761,
            },
        ),
        ("SupSup Fig. 4, LeNet: BatchE", 250_000, {"batche": 0.8822}),
        ("SupSup Fig. 4, LeNet: upper bound", 250_000, {"none, net per task": 0.9487}),
        (
            "SupSup Fig. 4, LeNet",
            250_000,
            {"supsup, entropy-one-shot +90": 0.9363, "supsup, superfluous-one-shot +90": 0.9363},
        ),
        (
            "SupSup Fig. 2 left",
            500_000,
            {"supsup, top-k 4": 0.8637, "supsup, top-k 8": 0.8868, "supsup, top-k 16": 0.8958},
        ),
        ("PSP Fig. 6b", 40_500, {"binary": 0.794, "none, head per task": 0.438, "none": 0.114}),
    ],
)
def test_published_values_are_those_of_the_sheet(source: str, step: int, expected: dict[str, float]) -> None:
    found = published().query("source == @source and step == @step").set_index("context")["value"]
    assert found.to_dict() == expected


# Permuting


def test_ours_stand_below_the_papers_with_the_difference(tmp_path: Path) -> None:
    (lines,) = tables(add_trials(tmp_path, PERMUTING, flat, (-0.01, 0.01)))
    assert lines[0] == "### PSP Fig. 2: accuracy of task 0 (%) after training so many tasks"
    assert lines[2].startswith("permuting mnist, 2 hidden layers; the paper's values: measured from the figure")
    assert "ours: 2 seeds, mean ± half of the 95% interval." in lines[2]
    assert lines[-3] == "| 512 | binary | paper | 96.6 | 96.5 | 95.2 | 90.7 | 85.8 | 79.8 | 80.6 |"
    assert lines[-2] == "| 512 | binary | ours | 96.0 ± 12.7 | 96.0 ± 12.7 | - | - | - | - | - |"
    assert lines[-1] == "| 512 | binary | difference | -0.6 | -0.5 | - | - | - | - | - |"


def test_the_papers_band_stands_beside_its_value(tmp_path: Path) -> None:
    _, lines = tables(add_trials(tmp_path, PERMUTING, flat, width=256))
    paper = rows(lines)["256", "binary", "paper"]
    assert paper[-2:] == ["74.8", "68.9 (61.4-75.1)"]


def test_fixed_and_trained_contexts_have_tables_of_their_own(tmp_path: Path) -> None:
    add_trials(tmp_path, PERMUTING, flat, (-0.01, 0.01))
    add_trials(tmp_path, PERMUTING, lambda seen, task: 0.5 if seen == 1 else None, learned_contexts=True)
    fixed, trained = tables(tmp_path)
    assert rows(fixed)["512", "binary", "ours"][0] == "96.0 ± 12.7"
    assert "contexts trained during their task" not in fixed[2]
    assert "ours: 1 seed, contexts trained during their task." in trained[2]
    assert rows(trained)["512", "binary", "ours"] == ["50.0", *"------"]


def test_another_number_of_hidden_layers_has_a_table_of_its_own_that_says_so(tmp_path: Path) -> None:
    add_trials(tmp_path, PERMUTING, lambda seen, task: 0.5, depth=3)
    add_trials(tmp_path, PERMUTING, flat)
    add_trials(tmp_path, PERMUTING, lambda seen, task: 0.4, depth=1)
    as_deep, one, three = tables(tmp_path)
    assert as_deep[0].endswith("so many tasks")
    assert one[0].endswith("so many tasks, 1 hidden layer")
    assert three[0].endswith("so many tasks, 3 hidden layers")
    assert three[2].startswith("permuting mnist, 3 hidden layers here; the paper has 2, its code 3; the paper's values")
    assert rows(as_deep)["512", "binary", "ours"][0] == "96.0"
    assert rows(three)["512", "binary", "difference"][:2] == ["-46.6", "-46.5"]


def test_the_last_ten_of_fifty_tasks_stand_alone_where_the_papers_value_is_not_known(tmp_path: Path) -> None:
    def accuracy(seen: int, task: int) -> float | None:
        return None if seen < 50 else (0.9 if task >= 40 else 0.2)

    (lines,) = tables(add_trials(tmp_path, PERMUTING, accuracy, width=2000, num_tasks=50))
    assert lines[0] == "### PSP Fig. 3 right: mean accuracy of the last ten tasks (%) after training so many tasks"
    assert "\n".join(lines).count("not in our sheet") == 1
    assert rows(lines) == {("2000", "binary", "ours"): ["90.0"]}


def test_rotations_are_compared_with_their_second_authors_by_the_mean_over_all_tasks(tmp_path: Path) -> None:
    add_trials(tmp_path, PERMUTING, lambda seen, task: 0.96, width=1024, context="rotation", num_tasks=10)
    (lines,) = tables(tmp_path)
    assert "SupSup's authors on PSP: mean accuracy over all tasks seen" in lines[0]
    assert rows(lines) == {
        ("1024", "rotation", "paper"): ["97.1", "94.8", "~87.8"],
        ("1024", "rotation", "ours"): ["96.0", "-", "-"],
        ("1024", "rotation", "difference"): ["-1.1", "-", "-"],
    }


LENET = {**PERMUTING, "model": "lenet-300-100", "width": 256, "permute_first": True, "num_tasks": 10}
BATCHE = {
    **LENET, "learned_contexts": True, "output_contexts": True, "trunk": "first-task", "optimiser": "adam",
    "later_lr": 0.01, "weight_decay": 1e-4,
}  # fmt: skip
INFERRED = {"context": "none", "task_inference": "entropy-one-shot"}


def test_rivals_of_supermasks_are_compared_each_with_its_own_optimiser(tmp_path: Path) -> None:
    add_trials(tmp_path, BATCHE, lambda seen, task: 0.9)
    add_trials(tmp_path, LENET, lambda seen, task: 0.94, method="supsup", superfluous=90, **INFERRED)
    add_trials(tmp_path, LENET, lambda seen, task: 0.95, context="none", trunk="per-task", optimiser="adam")
    supsup, batche, upper = tables(tmp_path)
    assert rows(supsup)["256", "supsup, entropy-one-shot +90", "difference"][0] == "+0.3"
    assert upper[0].startswith("### SupSup Fig. 4, LeNet: upper bound: mean accuracy over all tasks seen (%)")
    assert rows(upper)["256", "none, net per task", "difference"][0] == "+0.1"
    assert batche[0].startswith("### SupSup Fig. 4, LeNet: BatchE: mean accuracy over all tasks seen (%)")
    assert "contexts trained" not in batche[2]
    assert rows(batche) == {
        ("256", "batche", "paper"): ["88.9", "88.3", "88.2", "88.2", "88.2", "88.2"],
        ("256", "batche", "ours"): ["90.0", *"-----"],
        ("256", "batche", "difference"): ["+1.1", *"-----"],
    }


# Rotating and incremental


def turning(seen: int, task: int) -> float | None:
    return 0.80 + seen / 10_000 if task == 0 else (0.7 if seen == 500 else None)


def test_a_turning_stream_is_compared_at_0_degrees_by_steps_and_at_its_end(tmp_path: Path) -> None:
    add_trials(tmp_path, ROTATING, turning, context="complex", contexts_per_task=100, schedule="local-mix")
    curve, end = tables(tmp_path)
    assert curve[0] == "### PSP Figs. 4b and 5: accuracy at 0 degrees (%) after training so many steps"
    assert "| 500 | 5,000 | 10,000 | 20,000 | 30,000 | 40,000 | 49,500 | 49,900 |" in curve[4]
    label = "complex x100, local-mix"
    assert rows(curve) == {
        ("256", label, "paper"): ["~43.6", "66.4", "70.3", "74.0", "75.9", "76.9", "76.1", "76.0"],
        ("256", label, "ours"): ["80.0", "80.5", "81.0", "82.0", "83.0", "84.0", "85.0", "85.0"],
        ("256", label, "difference"): ["+36.4", "+14.1", "+10.7", "+8.0", "+7.1", "+7.1", "+8.9", "+9.0"],
    }
    # Of visits 490 to 499, 0.80 + 0.04945.
    assert "mean of the last 1000 steps" in end[0]
    assert rows(end) == {
        ("256", label, "paper"): ["76.8"],
        ("256", label, "ours"): ["84.9"],
        ("256", label, "difference"): ["+8.1"],
    }


def test_what_was_measured_as_theirs_stands_at_their_steps(tmp_path: Path) -> None:
    """A curve with 1, 101, 201, ... steps taken is theirs after steps 0, 100, 200, ...

    The same trial without one, and one that was measured at other moments, do not count beside it.
    """
    settings = {**ROTATING, "context": "complex", "contexts_per_task": 100}
    add_trials(tmp_path, settings, turning)
    for eval_from, shift in ((1, 0.05), (50, 0.3)):
        moments = range(eval_from, 50_001, 100)
        curve = {step: 0.80 + step / 1_000_000 + shift for step in moments}
        add_trials(tmp_path, settings, turning, curve=curve, eval_every=100, eval_from=eval_from)
    curve, end = tables(tmp_path)
    assert rows(curve)["256", "complex x100", "ours"] == [
        "85.1", "85.5", "86.0", "87.0", "88.0", "89.0", "90.0", "90.0",
    ]  # fmt: skip
    assert rows(end)["256", "complex x100", "ours"] == ["89.9"]


def test_turning_with_two_hidden_layers_says_that_the_code_has_three(tmp_path: Path) -> None:
    curve, _ = tables(add_trials(tmp_path, ROTATING, turning, depth=2))
    assert curve[2].startswith("rotating fashion-mnist, 2 hidden layers here; the code has 3; the paper's values")


def test_incremental_is_compared_just_before_and_after_a_task_begins(tmp_path: Path) -> None:
    curve = {1: 0.3, 19_501: 0.85, 20_001: 0.4, 20_501: 0.7, 39_501: 0.5, 40_001: 0.2, 40_501: 0.45}
    for changes in ({"context": "none"}, {"context": "none", "heads": "per-task"}):
        add_trials(tmp_path, INCREMENTAL, lambda seen, task: 0.1, curve=curve, eval_every=500, eval_from=1, **changes)
    (lines,) = tables(tmp_path)
    assert lines[2].startswith("incremental cifar-10-100, resnet-18; the paper's values")
    assert "| 19,500 | 20,500 | 39,500 | 40,500 |" in lines[4]
    found = rows(lines)
    assert found["64", "none, head per task", "paper"] == ["83.3", "73.9", "55.6", "43.8"]
    assert found["64", "none, head per task", "ours"] == ["85.0", "70.0", "50.0", "45.0"]
    assert found["64", "none, head per task", "difference"] == ["+1.7", "-3.9", "-5.6", "+1.2"]
    assert found["64", "none", "difference"] == ["+2.2", "+48.3", "+41.0", "+33.6"]


# What does not count


def test_a_store_without_a_finished_trial_is_bad_input(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="no trial with settings"):
        tables(add_trials(tmp_path, PERMUTING, flat, status="failed"))


@pytest.mark.parametrize(
    ("settings", "changes"),
    [
        (PERMUTING, {"batch_size": 64}),
        (PERMUTING, {"permute_first": True}),
        (PERMUTING, {"precision": "bfloat16"}),
        (PERMUTING, {"context": "complex"}),
        (PERMUTING, {"context": "binary", "contexts_per_task": 10}),
        (BATCHE, {"optimiser": "rmsprop"}),
        (BATCHE, {"later_lr": None}),
        (BATCHE, {"trunk": "random"}),
        (LENET, {"context": "none", "trunk": "per-task"}),
        (ROTATING, {"num_cycles": 5}),
        (ROTATING, {"num_tasks": 5}),
        (ROTATING, {"dataset": "mnist"}),
        (INCREMENTAL, {"steps_per_task": 200}),
        (INCREMENTAL, {"width": 16}),
        (INCREMENTAL, {"lr": 1e-4}),
    ],
)
def test_trials_with_other_settings_do_not_count(
    tmp_path: Path, settings: dict[str, object], changes: dict[str, object]
) -> None:
    with pytest.raises(StoreError, match="no trial with settings"):
        tables(add_trials(tmp_path, settings, flat, **changes))


# The figures


def test_each_curve_is_drawn_over_the_papers_points(tmp_path: Path) -> None:
    for width in (128, 512):
        add_trials(tmp_path, PERMUTING, flat, (-0.01, 0.01), width=width)
    lines = list(draw_comparisons(compare_store(str(tmp_path)), str(tmp_path)))
    assert lines == [f"drew {tmp_path}/figures/compare-psp-fig-2.png"]
    path = tmp_path / "figures" / "compare-psp-fig-2.png"
    assert path.read_bytes().startswith(b"\x89PNG\r\n")
    image = mpl.image.imread(path)
    assert min(image.shape[:2]) > 300
    assert image.std() > 0.01  # not blank


def test_the_points_are_the_published_values_and_the_curves_are_ours(tmp_path: Path) -> None:
    add_trials(tmp_path, PERMUTING, flat, (-0.01, 0.01))
    (comparison,) = compare_store(str(tmp_path))
    figure = compare_plot.draw(comparison)
    (axes,) = figure.axes
    ours, points = axes.get_lines()[0], axes.containers[0].lines[0]
    assert ours.get_xdata().tolist() == [1, 2, 3, 4, 5]
    assert ours.get_ydata().tolist() == pytest.approx([0.96] * 5)
    assert points.get_xdata().tolist() == [1, 5, 10, 20, 30, 40, 50]
    assert points.get_ydata().tolist() == [0.966, 0.965, 0.952, 0.907, 0.858, 0.798, 0.806]
    assert points.get_color() == ours.get_color()
    assert "2 seeds, 95% interval" in caption_of(figure)
    assert axes.get_title() == "width 512"


def test_tables_of_a_single_step_have_no_figure_and_others_a_file_each(tmp_path: Path) -> None:
    add_trials(tmp_path, ROTATING, turning)
    add_trials(tmp_path, ROTATING, turning, depth=2)
    add_trials(tmp_path, ROTATING, turning, learned_contexts=True)
    lines = draw_comparisons(compare_store(str(tmp_path)), str(tmp_path), "svg")
    assert [line.rpartition("/")[2] for line in lines] == [
        "compare-psp-figs-4b-and-5.svg",
        "compare-psp-figs-4b-and-5-depth-2.svg",
        "compare-psp-figs-4b-and-5-trained-contexts.svg",
    ]


@pytest.mark.parametrize("obstacle", ["figures", "figures/compare-psp-fig-2.png"])
def test_a_store_that_cannot_be_written_says_so_and_has_its_tables(tmp_path: Path, obstacle: str) -> None:
    comparisons: list[Comparison] = compare_store(add_trials(tmp_path, PERMUTING, flat))
    if obstacle == "figures":
        (tmp_path / obstacle).write_text("")  # a file where the folder should be
    else:
        (tmp_path / obstacle).mkdir(parents=True)  # a folder where the file should be
    (line,) = draw_comparisons(comparisons, str(tmp_path))
    assert line.startswith(f"no figure: out='{tmp_path}' cannot be written: ")


def test_the_command_prints_tables_alone_and_says_elsewhere_what_it_drew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    out = add_trials(tmp_path, PERMUTING, flat)
    monkeypatch.setattr("sys.argv", ["psp", "compare", out, "--format", "pdf"])
    with pytest.raises(SystemExit) as ended:
        cli.main()
    printed = capsys.readouterr()
    assert ended.value.code == 0
    assert printed.out == compare_store(out)[0].table() + "\n"
    assert printed.err == f"drew {out}/figures/compare-psp-fig-2.pdf\n"
    assert (tmp_path / "figures" / "compare-psp-fig-2.pdf").read_bytes().startswith(b"%PDF")


def test_an_unknown_format_is_bad_input_before_anything_is_printed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.argv", ["psp", "compare", add_trials(tmp_path, PERMUTING, flat), "--format", "bmp"])
    with pytest.raises(SystemExit) as ended:
        cli.main()
    printed = capsys.readouterr()
    assert (ended.value.code, printed.out) == (2, "")
    assert "format='bmp' is not known" in printed.err


def test_published_contexts_have_names_that_psp_core_knows() -> None:
    rows = pd.read_csv(Path(compare_plot.__file__).parent / "published.csv")
    trials = [trial for name in shipped_studies() for trial in load_study(name).trials()]
    settings = [row for trial in trials if (row := row_of(trial))["method"] != "retrieval"]
    ours = {re.sub(r"top-k [0-9]+", "top-k", label) for label in completed(pd.DataFrame(settings))["curve"]}
    published_labels = {
        re.sub(r"top-k [0-9]+", "top-k", label) for label in rows["context"]
    }  # others tried more of them
    assert published_labels <= ours
    assert {"batche", "none, net per task", "supsup, top-k", "supsup, entropy-one-shot +90"} < published_labels

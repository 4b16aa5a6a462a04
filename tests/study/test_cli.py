import json
import os
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pyarrow.parquet as pq
import pytest
import yaml

from study.files import Files, StorageError
from study.plan import merge, trial_id
from study.shipped import shipped_studies
from study.spec import load_study
from study.store import TrialStore
from tests.conftest import small_study

SMALL = small_study().to_mapping()


def test_list_names_every_shipped_study(psp) -> None:
    outcome = psp("list")
    assert outcome.code == 0
    lines = dict(line.split(maxsplit=1) for line in outcome.out.splitlines())
    assert lines.keys() == shipped_studies().keys()
    for name, line in lines.items():
        spec = load_study(name)
        number, of_small = (
            len(form.cells()) * len(form.seeds) for form in (spec, spec.reduced() if spec.small else spec)
        )
        small = f", {of_small} with --small" if spec.small else ""
        assert line == f"{spec.about} ({number} trials{small}{', tuned' if spec.tune else ''})"


def test_list_breaks_no_word_on_a_narrow_terminal(psp, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = psp("list").out
    monkeypatch.setattr("sys.stdout.isatty", lambda: True, raising=False)
    monkeypatch.setenv("COLUMNS", "80")
    narrow = psp("list").out
    assert narrow.split() == whole.split()
    assert max(map(len, narrow.splitlines())) <= 80


def test_plan_counts_and_runs_nothing(psp, tmp_path: Path) -> None:
    outcome = psp("plan", "quickstart", "--set", "seed=0,1", "--set", "num_tasks=5,10")
    assert outcome.code == 0
    assert "40 planned, 40 to do" in outcome.out  # num_tasks merges
    assert "60,000 of a trial" in outcome.out  # 40 trials x 10 tasks x 150 steps
    assert not list(tmp_path.iterdir())


def test_the_planner_is_tuned_and_says_what_it_estimates_by(
    psp, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from study.rates import own_file, shipped_file
    from study.workers import cpu_name, this_machine

    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr("study.workers.torch.cuda.is_available", lambda: False)
    assert f"; to measure this {cpu_name()}: psp tune-planner" in psp("plan", "quickstart").out
    outcome = psp("tune-planner", "--rows", str(shipped_file("cuda")), "--out", "again.json")
    assert outcome.code == 0
    assert "NVIDIA H200: 21 measurements, estimated within " in outcome.out
    text = (tmp_path / "again.json").read_text().replace("NVIDIA H200", cpu_name()).replace("cuda", "cpu")
    own_file(cpu_name()).parent.mkdir(parents=True)
    own_file(cpu_name()).write_text(text)
    assert this_machine().rates.device == cpu_name()
    assert f"rates    of {cpu_name()}, 2026-11-27\n" in psp("plan", "quickstart").out
    outcome = psp("tune-planner", "--rows", "nowhere.json")
    assert outcome.code == 2
    assert "rows='nowhere.json' cannot be read" in outcome.err


def test_plan_leaves_out_what_the_store_holds(psp, small_store: Path, tmp_path: Path) -> None:
    path = tmp_path / "small.yaml"
    path.write_text(yaml.safe_dump(SMALL))
    outcome = psp("plan", str(path), "--out", str(small_store), "--set", "seed=0,1,2")
    assert "12 planned, 4 to do" in outcome.out


def test_status_tells_how_far_a_store_is(psp, small_store: Path) -> None:
    outcome = psp("status", str(small_store))
    assert outcome.code == 0
    assert [line.split() for line in outcome.out.splitlines()[1:]] == [
        ["done", "8"],
        ["running", "0"],
        ["failed", "0"],
        ["to", "do", "0"],
    ]


def test_run_with_nothing_left_to_do_ends_without_ray(psp, small_store: Path, tmp_path: Path) -> None:
    path = tmp_path / "small.yaml"
    path.write_text(yaml.safe_dump(SMALL))
    outcome = psp("run", str(path), "--out", str(small_store))
    assert outcome.code == 0
    assert "8 trials planned, 8 done already" in outcome.out


def test_data_that_nobody_can_download_are_bad_input(psp, tmp_path: Path) -> None:
    split = ("dataset=imagenet", "stream=split", "classes_per_task=10", "model=small-conv", "context=binary")
    changes = [part for setting in (*split, "num_tasks=2", "width=4") for part in ("--set", setting)]
    outcome = psp("run", "permuting-mnist-256", "--out", "out", "--data", str(tmp_path), *changes)
    assert outcome.code == 2
    for part in ("train", "val"):
        assert str(tmp_path / "imagenet" / part) in outcome.err
    assert "1000 folders of JPEG files" in outcome.err
    assert not (tmp_path / "out").exists()


def test_a_store_that_another_run_writes_is_refused(psp, small_store: Path, tmp_path: Path) -> None:
    out = tmp_path / "copy"
    shutil.copytree(small_store, out)
    study = tmp_path / "small.yaml"
    study.write_text(yaml.safe_dump(SMALL))
    with subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"]) as alive:
        lease = {"id": "x", "host": os.uname().nodename, "pid": alive.pid, "updated": time.time()}
        (out / "driver.json").write_text(json.dumps(lease))
        outcome = psp("run", str(study), "--out", str(out), "--set", "seed=0,1,2")
        alive.kill()
    assert outcome.code == 2
    assert f"is being written by another psp run (process {alive.pid}" in outcome.err
    assert "Wait until it ends, or stop it" in outcome.err


def test_compact_puts_the_files_of_a_store_together(psp, small_store: Path, tmp_path: Path) -> None:
    out = tmp_path / "copy"
    shutil.copytree(small_store, out)
    before = psp("status", str(out)).out
    outcome = psp("compact", str(out))
    assert outcome.code == 0
    assert outcome.out.rstrip().endswith("files of trials, now 1")
    assert psp("status", str(out)).out == before


def test_secrets_of_an_address_are_not_repeated(psp, tmp_path: Path) -> None:
    outcome = psp("run", "quickstart", "--out", "nowhere://user:hunter2@bucket/path")
    assert outcome.code == 2
    assert "nowhere://***@bucket" in outcome.err
    assert "hunter2" not in outcome.err + outcome.out


def test_a_storage_that_refuses_is_bad_input_and_no_traceback(
    psp, small_store: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(files: Files, name: str) -> None:
        raise StorageError(f"{files.shown} refuses to look for {name}")

    monkeypatch.setattr(Files, "exists", refuse)
    outcome = psp("status", str(small_store))
    assert outcome.code == 2
    assert outcome.err.startswith(f"error: {small_store} refuses to look for study.yaml")


def test_a_machine_without_git_is_no_reason_to_fail(monkeypatch: pytest.MonkeyPatch) -> None:
    from study.provenance import provenance

    assert len(provenance()["commit"].removesuffix("-dirty")) == 40
    monkeypatch.setenv("PATH", "")
    assert provenance()["commit"] == "unknown"


def test_plot_draws_into_the_store_and_says_what_it_skipped(psp, small_store: Path) -> None:
    outcome = psp("plot", str(small_store), "--format", "svg")
    assert outcome.code == 0
    assert "skipped" not in outcome.out  # what another study would have, nobody is told
    assert (small_store / "figures" / "capacity.svg").stat().st_size > 10_000


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"typo": 1}, "'typo' is not a key of a study"),
        ({"axes": {"context": ["binray"]}}, "did you mean 'binary'?"),
        ({"axes": {"width": [0]}}, "width=0 must be at least 1"),
        ({"axes": {"width": []}}, "at least one value"),
        ({"settings": {"lr": -1}}, "lr=-1.0 must be a positive"),
        ({"settings": {"num_tasks": 0}}, "num_tasks=0 must be at least 1"),
        ("just text", "must be a mapping"),
    ],
)
def test_a_bad_study_is_bad_input(psp, tmp_path: Path, change: object, message: str) -> None:
    path = tmp_path / "bad.yaml"
    path.write_text(yaml.safe_dump({**SMALL, **change} if isinstance(change, dict) else change))
    outcome = psp("run", str(path))
    assert outcome.code == 2
    assert outcome.err.startswith("error: ")
    assert message in outcome.err
    assert len(outcome.err.splitlines()) == 1
    assert [entry.name for entry in tmp_path.iterdir()] == ["bad.yaml"]  # nothing trained, nothing made


def test_a_data_root_without_mnist_and_no_network_is_bad_input(psp, tmp_path: Path, monkeypatch) -> None:
    import torchvision

    def no_network(*arguments: object, **options: object) -> None:
        raise OSError("no route to host")

    monkeypatch.setattr(torchvision.datasets, "MNIST", no_network)
    (tmp_path / "empty").mkdir()
    outcome = psp("run", "permuting-mnist-256", "--data", str(tmp_path / "empty"))
    assert outcome.code == 2
    assert str(tmp_path / "empty" / "MNIST" / "raw" / "train-images-idx3-ubyte") in outcome.err
    assert not (tmp_path / "results").exists()


def test_an_output_that_is_a_file_or_another_studys_is_bad_input(psp, tmp_path: Path, small_store: Path) -> None:
    (tmp_path / "file").write_text("")
    outcome = psp("run", "quickstart", "--out", "file")
    assert outcome.code == 2
    assert "out='file' is a file" in outcome.err
    outcome = psp("run", "quickstart", "--out", str(small_store))
    assert outcome.code == 2
    assert "belongs to study 'small', not 'quickstart'" in outcome.err


@pytest.mark.parametrize("folder", ["trials", "evals"])
def test_a_truncated_store_file_is_named_and_the_rest_read(psp, tmp_path: Path, small_store: Path, folder: str) -> None:
    out = tmp_path / "copy"
    shutil.copytree(small_store, out)
    path = next((out / folder).iterdir())
    path.write_bytes(path.read_bytes()[:50])
    status = psp("status", str(out))
    assert f"done     {6 if folder == 'trials' else 8}" in status.out
    plotted = psp("plot", str(out))
    assert "drew" in plotted.out
    study = tmp_path / "small.yaml"
    study.write_text(yaml.safe_dump(SMALL))
    run = psp("run", str(study), "--out", str(out))
    assert "Remove what is named, and its trials will be trained again." in run.err
    for outcome in (status, plotted, run):
        assert outcome.code == 2
        assert f"{folder}/{path.name} cannot be read" in outcome.err


READERS = ["status", "compact", "plot", "compare"]


@pytest.mark.parametrize("command", READERS)
@pytest.mark.parametrize("place", ["nowhere", "thesis"])
def test_a_place_that_is_no_store_is_bad_input_and_stays_as_it_is(
    psp, tmp_path: Path, command: str, place: str
) -> None:
    (tmp_path / "thesis").mkdir()
    (tmp_path / "thesis" / "thesis.tex").write_text("years of work")
    before = sorted(tmp_path.rglob("*"))
    outcome = psp(command, place)
    assert outcome.code == 2
    assert "no trial store" in outcome.err
    assert sorted(tmp_path.rglob("*")) == before


@pytest.mark.parametrize("command", READERS)
def test_a_studys_name_in_place_of_its_store_is_answered_with_the_store(
    psp, tmp_path: Path, small_store: Path, command: str
) -> None:
    shutil.copytree(small_store, tmp_path / "results" / "small")
    outcome = psp(command, "small")
    assert outcome.code == 2
    assert outcome.err == "error: out='small' is no trial store; did you mean 'results/small'?\n"


def test_a_store_of_another_version_is_said_to_be_one(psp, tmp_path: Path, small_store: Path) -> None:
    out = tmp_path / "copy"
    shutil.copytree(small_store, out)
    content = yaml.safe_load((out / "study.yaml").read_text())
    content["settings"]["warp"] = 9
    content["ran_with"] = {"psp": "99.0", "commit": "f" * 40}
    (out / "study.yaml").write_text(yaml.safe_dump(content))
    outcome = psp("status", str(out))
    assert outcome.code == 2
    assert "'warp' is not a setting" in outcome.err
    assert "The store was written by psp 99.0 (commit ffffffffffff), and this is psp 0." in outcome.err
    assert outcome.err.endswith(": use the newer of them.\n")


@pytest.mark.parametrize(("folder", "column"), [("trials", "lr"), ("trials", "trial_id"), ("evals", "accuracy")])
def test_a_store_without_a_column_is_bad_input(
    psp, tmp_path: Path, small_store: Path, folder: str, column: str
) -> None:
    out = tmp_path / "copy"
    shutil.copytree(small_store, out)
    for path in (out / folder).iterdir():
        pq.write_table(pq.read_table(path).drop_columns([column]), path)
    for command in ("plot", "compare"):
        outcome = psp(command, str(out))
        assert outcome.code == 2
        assert f"{folder} has no column '{column}'" in outcome.err


@pytest.mark.parametrize("command", ["plan", "run"])
@pytest.mark.parametrize("by", ["--data", "PSP_DATA"])
def test_a_data_folder_that_is_not_there_is_refused_and_not_made(
    psp, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, command: str, by: str
) -> None:
    nowhere = str(tmp_path / "nowhere")
    monkeypatch.setenv("PSP_DATA", nowhere)
    options = ["--data", nowhere] if by == "--data" else []
    outcome = psp(command, "permuting-mnist-256", "--small", *options)
    assert outcome.code == 2
    assert f"data='{nowhere}' is no folder, so dataset='mnist' cannot be read from there" in outcome.err
    assert not list(tmp_path.iterdir())


def test_a_plan_says_where_data_are_or_come_from(psp, tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    outcome = psp("plan", "permuting-mnist-256", "--small", "--data", "data")
    assert outcome.code == 0
    assert f"data     mnist: not in {tmp_path / 'data'}; a run downloads it to there (12 MB)" in outcome.out
    assert "data     digits: part of scikit-learn" in psp("plan", "quickstart").out
    assert not list((tmp_path / "data").iterdir())


def test_a_damaged_study_yaml_is_bad_input(psp, tmp_path: Path, small_store: Path) -> None:
    out = tmp_path / "copy"
    shutil.copytree(small_store, out)
    (out / "study.yaml").write_text("name: [")
    outcome = psp("status", str(out))
    assert outcome.code == 2
    assert "study.yaml" in outcome.err


def test_an_unknown_format_is_bad_input(psp, small_store: Path) -> None:
    outcome = psp("plot", str(small_store), "--format", "bmp")
    assert outcome.code == 2
    assert "format='bmp' is not known; use one or more of png,svg,pdf" in outcome.err


def test_packs_of_a_run_that_is_gone_are_interrupted_not_running(psp, small_store: Path, tmp_path: Path) -> None:
    out = tmp_path / "copy"
    shutil.copytree(small_store, out)
    for folder in ("trials", "evals"):
        next((out / folder).iterdir()).unlink()
    store = TrialStore(str(out))
    left = [trial_id(trial) for trial in merge(small_study().trials()) if trial_id(trial) not in store.finished()[0]]
    store.note_progress("p", left, 1)

    def shown() -> dict[str, str]:
        return dict(re.findall(r"(running|to do|kept) +(.*)", psp("status", str(out)).out))

    assert shown() == {"running": "0", "to do": str(len(left))}  # nothing of them is kept
    store.write_checkpoint("p", 2, b"")
    kept = f"1 pack of {len(left)} trials at task 2 of 3, to go on from there"
    assert shown() == {"running": "0", "to do": str(len(left)), "kept": kept}
    store.begin_again()
    assert shown()["kept"] == kept  # though a later run may have ended before it came to them
    store.note_progress("p", left, 2)
    with subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"]) as alive:
        lease = {"id": "x", "host": os.uname().nodename, "pid": alive.pid, "updated": time.time()}
        (out / "driver.json").write_text(json.dumps(lease))
        assert shown() == {"running": str(len(left)), "to do": "0"}
        alive.kill()
        alive.wait()
    assert shown()["running"] == "0"  # known at once, on the same machine


@pytest.mark.parametrize("option", ["--time-budget", "--trial-timeout"])
@pytest.mark.parametrize("seconds", ["0", "-1", "nan"])
def test_no_time_is_refused(psp, option: str, seconds: str) -> None:
    outcome = psp("run", "quickstart", option, seconds)
    assert outcome.code == 2
    assert "must be more than 0 seconds; leave it out for no limit" in outcome.err


@pytest.mark.parametrize(
    ("command", "message"),
    [
        (("run", "quickstart", "--gpus", "1"), "gpus=1: this machine has 0"),
        (("run", "quickstart", "--packs-per-gpu", "2"), "packs_per_gpu=2: this machine trains on its CPU cores"),
        (("plan", "quickstart", "--packs-per-gpu", "2"), "packs_per_gpu=2: this machine trains on its CPU cores"),
    ],
)
def test_gpus_that_are_not_there_are_bad_input(
    psp, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, command: tuple[str, ...], message: str
) -> None:
    import torch

    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    outcome = psp(*command)
    assert outcome.code == 2
    assert message in outcome.err
    assert not list(tmp_path.iterdir())

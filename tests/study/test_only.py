"""A part of a study: `--only`, with the study's own ids and store, and `--retry-failed`."""

import shutil
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pyarrow.parquet as pq
import pytest
import yaml

from study.plan import trial_id
from study.run import RunOptions, _planned
from study.spec import StudyError, StudySpec
from study.standing import standing, whole_standing
from study.store import TrialStore
from study.workers import this_machine
from tests.conftest import small_study

TUNED: dict[str, Any] = {
    "name": "tuned",
    "variants": [
        {"context": "none"},
        {"context": ["none", "binary"], "protect": {"name": "ewc", "strength": {"log_uniform": [0.1, 1000]}}},
    ],
    "settings": {"dataset": "digits", "num_tasks": 3, "lr": {"choice": [0.001, 0.01]}},
    "tune": {"search": "random", "trials": 2, "seeds": [100]},
    "measure": {"seeds": [0, 1]},
}


def ids(spec: StudySpec) -> set[str]:
    return {trial_id(trial) for trial in spec.trials()}


@pytest.mark.parametrize(
    ("only", "number"),
    [(["context=binary"], 4), (["context=binary", "seed=1"], 2), (["model.width=4,8", "seeds=0"], 4), (["depth=2"], 8)],
)
def test_a_part_has_trials_of_the_study_and_its_ids(only: list[str], number: int) -> None:
    spec = small_study()
    part = spec.with_only(only)
    assert len(part.trials()) == len(ids(part)) == number
    assert ids(part) <= ids(spec)


def test_a_part_of_a_tuned_study_is_tuned_as_the_whole() -> None:
    spec = StudySpec.from_mapping(TUNED)
    part = spec.with_only(["protect=ewc", "context=binary", "seed=1"])
    assert [cell["context"] for cell in part.cells()] == ["binary"]
    assert len(part.trials()) == 2 + 1  # tuning trials with their own seed, and a measured one
    assert {trial.row["seed"] for trial in part.trials()} == {100, 1}
    assert ids(part) <= ids(spec)


@pytest.mark.parametrize(
    ("only", "message"),
    [
        (["context"], "--only 'context' must read key=value"),
        (["context=binray"], "did you mean 'binary'"),
        (["context=complex"], "no trial of the study has 'complex'; it has none, binary"),
        (["seed=7"], "no trial of the study has 7; it has 0, 1"),
        (["widht=4"], "did you mean 'width'"),
        (["width=4", "width=8"], "width is given twice"),
    ],
)
def test_a_part_that_is_not_there_is_refused(only: list[str], message: str) -> None:
    with pytest.raises(StudyError, match=message):
        small_study().with_only(only)


def test_what_the_study_chooses_and_what_no_trial_has_together_is_refused() -> None:
    spec = StudySpec.from_mapping(TUNED)
    with pytest.raises(StudyError, match=r"no trial of the study has 0.001; it has \{'choice'"):
        spec.with_only(["lr=0.001"])
    with pytest.raises(StudyError, match="no trial of the study has all of this"):
        spec.with_only(["protect=none", "context=binary"])


def test_the_store_of_a_part_is_the_studys(small_store: Path, tmp_path: Path) -> None:
    spec = small_study()
    store = TrialStore(str(tmp_path / "out"))
    store.claim(spec.with_only(["context=binary", "seed=0"]), {})
    assert store.read_study() == spec
    assert standing(spec.with_only(["width=4"]), TrialStore(str(small_store))).count("ok") == 4


def test_status_of_a_part_counts_what_was_set_too(tmp_path: Path) -> None:
    store = TrialStore(str(tmp_path / "out"))
    store.claim(small_study().with_values(["context=complex"]), {})
    spec = store.read_study()
    assert spec
    assert len(whole_standing(spec, store).planned) == 8 + 4
    assert len(whole_standing(spec, store, ["context=complex"]).planned) == 4
    assert len(whole_standing(spec, store, ["width=4"]).planned) == 4 + 2
    with pytest.raises(StudyError, match="no trial of the study has 'rotation'"):
        whole_standing(spec, store, ["context=rotation"])


def test_the_commands_take_a_part(psp, small_store: Path, tmp_path: Path) -> None:
    study = tmp_path / "small.yaml"
    study.write_text(yaml.safe_dump(small_study().to_mapping()))
    assert "2 planned, 2 to do" in psp("plan", str(study), "--only", "context=none", "--only", "width=4").out
    status = psp("status", str(small_store), "--only", "context=none").out
    assert status.startswith("small: 4 trials planned\n  done     4\n")
    assert "more trial" not in status
    run = psp("run", str(study), "--out", str(small_store), "--only", "width=8")
    assert "small: 4 trials planned, 4 done already." in run.out


def test_only_what_failed_is_tried_again(psp, small_store: Path, tmp_path: Path) -> None:
    study, out = tmp_path / "small.yaml", tmp_path / "out"
    study.write_text(yaml.safe_dump(small_study().to_mapping()))
    shutil.copytree(small_store, out)
    again = ("run", str(study), "--out", str(out), "--set", "seed=0,1,2", "--retry-failed")
    assert psp(*again).out.splitlines()[1] == "None of them failed."
    store = TrialStore(str(out))
    file = sorted((out / "trials").iterdir())[0]
    (failed, *_) = rows = pq.read_table(file).to_pylist()
    store.write_pack(file.stem, [failed | {"status": "failed", "error": "bad luck"}, *rows[1:]], [])
    stage = standing(small_study(seeds=[0, 1, 2]), store)
    assert (stage.count("failed"), stage.count(None)) == (1, 4)
    engine: Any = SimpleNamespace(choices=[this_machine()])
    left = _planned(stage, engine, RunOptions(retry_failed=True)).left
    assert [trial_id(trial) for pack in left for trial in pack.trials] == [failed["trial_id"]]
    assert sum(len(pack.trials) for pack in _planned(stage, engine, RunOptions()).left) == 5

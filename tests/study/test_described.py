"""What a worker says of a trial's curve and experiment is what analysis made of older stores' settings."""

import json
from collections.abc import Iterable
from pathlib import Path

import pandas as pd
import pyarrow.parquet as pq
import pytest

from analysis.old_stores import DEFAULTS, DESCRIBED, RETRIEVAL, WITH_MASKS, completed
from psp_core.experiment import AXES, Experiment
from study.plan import Pack, merge
from study.spec import StudySpec
from study.worker import Job, _row
from tests.conftest import run_here, small_study
from tests.study.test_trial_ids import shipped_forms

SPLIT = {"stream": "split", "classes_per_task": 2, "num_tasks": 3}
VARIANTS: list[dict[str, object]] = [
    {"context": "none"},
    {"context": "none", "heads": "per-task", "trunk": "first-task", "later_lr": 0.02},
    {"context": "complex", "contexts_per_task": 5, "schedule": "local-mix"},
    {"context": "binary", "learned_contexts": True, "momentum": 0.5},
    {"learned_contexts": True, "output_contexts": True, "trunk": "first-task", "optimiser": "adam"},
    {"context": "rotation", "task_inference": "entropy-one-shot", "superfluous": 5, "inference_images": 4},
    {"method": "supsup", "masks": "top-k", "sparsity": 8, "transfer": "running-mean", "weight_decay": 0.01},
    {
        "method": "supsup", "new_mask_eps": 0.1, "steps_per_decision": 5, "shared_labels": True,
        "task_inference": "entropy-one-shot",
    },
    {"method": "hopsupsup", "hopfield_rule": "hebb", "recovery_lr": 100, **SPLIT},
]  # fmt: skip


def plain(trials: pd.DataFrame) -> list[tuple[str, dict[str, str], dict[str, object]]]:
    """The columns DESCRIBED: in `curve_of`, a piece that another one implies may stand anywhere."""
    return [
        (curve, json.loads(curve_of), json.loads(experiment))
        for curve, curve_of, experiment in trials[DESCRIBED].itertuples(index=False)
    ]


def as_before(trials: pd.DataFrame) -> pd.DataFrame:
    """The same trials, as analysis completes stores that say nothing of curves."""
    lacking = [name for name in (*DEFAULTS, *RETRIEVAL) if name not in trials]
    return completed(trials.drop(columns=DESCRIBED).assign(**dict.fromkeys(lacking)))


def assert_as_before(trials: pd.DataFrame) -> None:
    assert plain(trials) == plain(as_before(trials))
    assert ["".join(json.loads(text).values()) for text in trials["curve_of"]] == trials["curve"].tolist()


def stored(out: Path) -> pd.DataFrame:
    return pq.read_table(out / "trials").to_pandas()


@pytest.mark.parametrize("variant", VARIANTS)
def test_a_stored_trial_is_described_as_before(variant: dict[str, object], tmp_path: Path) -> None:
    settings = {**small_study().settings, "width": 8, **variant}
    run_here(small_study(axes={}, seeds=[0], settings=settings), tmp_path)
    trials = stored(tmp_path)
    assert trials["status"].tolist() == ["ok"]
    assert_as_before(trials)


def test_a_stored_retrieval_is_described_as_before(tmp_path: Path) -> None:
    content = {"name": "r", "kind": "retrieval", "axes": {"context": ["binary", "complex"], "alignment": [0.0, 0.5]}}
    run_here(StudySpec.from_mapping({**content, "settings": {"width": 8, "num_tasks": 4, "num_draws": 1}}), tmp_path)
    trials = stored(tmp_path)
    assert set(trials["curve"]) == {"binary", "complex"}
    assert set(trials["experiment"]) == {'{"num_draws":1}', '{"alignment":0.5,"num_draws":1}'}
    assert_as_before(trials)


def is_older(trial: Experiment) -> bool:
    """Whether all that tells the trial apart is known to the rules for old stores, its values too."""
    is_known = {*trial.curve_of, *trial.setup} <= {"method", *DEFAULTS, *RETRIEVAL}
    is_known &= trial.curve_of.get("method") in (None, *WITH_MASKS)
    return is_known and trial.curve_of.get("trunk") != ", independent nets"


def described(trials: Iterable[Experiment]) -> pd.DataFrame:
    trials = tuple(dict.fromkeys(trials))
    job = Job(study="any", pack=Pack(trials), store="")
    return pd.DataFrame([_row(job, trial) for trial in trials])


def test_every_trial_of_every_shipped_study_is_described_as_before() -> None:
    """But for trials of settings that are younger than the columns."""
    number = 0
    for spec in shipped_forms():
        trials = [trial for trial in [*spec.trials(), *merge(spec.trials())] if is_older(trial)]
        if trials:
            assert_as_before(described(trials))
        number += len(trials)
    assert number >= 3000


def test_a_curve_and_an_experiment_say_all_that_tells_trials_apart() -> None:
    """Beside the axes: trials with equal columns differ in nothing but in what is said to tell no experiments apart."""
    for spec in shipped_forms():
        trials = spec.trials()
        rows = described(trials)
        own = {frozenset((one.column, value) for one, value in trial.settings() if one.tells) for trial in trials}
        axes = [axis for axis in AXES if axis in rows]
        assert len(rows[["curve_of", "experiment", *axes]].drop_duplicates()) == len(own)

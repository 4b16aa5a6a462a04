"""Trained networks, loaded from a store, answer as they did when the store's accuracies were measured."""

from pathlib import Path
from typing import Any

import pytest
import torch

from psp_core import load_model
from psp_core.datasets import load_dataset
from psp_core.experiments import EXPERIMENTS
from psp_core.inference import QUESTION
from psp_core.trained import TrainedModel
from psp_core.trial import TrialConfig
from study.plan import Pack, trial_id
from study.store import TrialStore
from study.worker import Job, PackRun

K = 3
TINY: dict[str, Any] = {"dataset": "digits", "width": 16, "num_tasks": K, "steps_per_task": 20, "batch_size": 16}
TINY |= {"lr": 0.01}
PLAIN = {"context": "none"}
MASKED = {"method": "supsup", "frozen_weights": "kaiming-normal", **PLAIN}  # weights of one size make ties of logits
KINDS: dict[str, dict[str, Any]] = {
    "no context": PLAIN,
    "binary": {},
    "complex": {"context": "complex"},
    "schedule": {"context": "complex", "schedule": "local-mix", "contexts_per_task": 2},
    "heads": {"heads": "per-task"},
    "learned contexts": {"learned_contexts": True, "output_contexts": True},
    "first task's trunk": {"heads": "per-task", "trunk": "first-task", **PLAIN},
    "joint": {"joint": True},
    "cycles": {"num_cycles": 2},
    "packnet": {"protect": "packnet", **PLAIN},
    "bfloat16": {"precision": "bfloat16"},
    "by channel, of a few classes": {"stream": "split", "classes_per_task": 2, "normalisation": "unit"},
    "validation": {"validation": 100, "eval_on": "validation"},
    "norms of tasks": {"model": "small-conv", "depth": 1, "width": 8, "norm": "per-task"},
    "norms of batches": {"model": "small-conv", "depth": 1, "width": 8, "norm": "static"},
    "supsup": MASKED,
    "supsup, heads": {**MASKED, "heads": "per-task"},
    "hat": {"method": "hat", **PLAIN},
    "hopsupsup": {"method": "hopsupsup", "stream": "split", "classes_per_task": 2, **PLAIN},
    "merged": {"method": "merged", **PLAIN},
    "tall masks": {"method": "merged", "merge": "tall-masks", **PLAIN},
}
INFERRED = {"task_inference": "entropy-one-shot", "shared_labels": True}
INFERRING: dict[str, dict[str, Any]] = {
    "psp": {"context": "rotation", **INFERRED},
    "supsup": {**MASKED, **INFERRED},
    "nns": {"method": "nns", "steps_per_decision": 10, **PLAIN},
}


def kept(settings: dict[str, Any], out: Path, kind: str = "training") -> str:
    """Train one trial and have its state kept, as a run does; its id."""
    trial = EXPERIMENTS[kind].from_flat(settings)
    job = Job(study="small", pack=Pack((trial,)), store=str(out), keep_state=True)
    run = PackRun(job, load_dataset("digits"))
    while not run.step()["done"]:
        pass
    return trial_id(trial)


def stored_counts(out: Path, num_visits: int = K) -> dict[int, int]:
    """Of each task, how many images the store says were answered right at the end."""
    import pyarrow.parquet as pq

    rows = [row for row in pq.read_table(out / "evals").to_pylist() if row["tasks_seen"] == num_visits]
    return {row["task"]: round(row["accuracy"] * row["num_samples"]) for row in rows}


def num_right(model: TrainedModel, task: int) -> int:
    """The same by the loaded network, asked with batches as large as those of the measurement."""
    x_NI, labels_N = model.images(task)
    batches = zip(*(t.tensor_split(-(-len(labels_N) // 1000)) for t in (x_NI, labels_N)), strict=True)
    return sum(int((model(x_BI, task).argmax(1) == labels_B).sum()) for x_BI, labels_B in batches)


@pytest.mark.parametrize("kind", KINDS)
def test_a_loaded_network_answers_as_many_images_as_the_store_says(kind: str, tmp_path: Path) -> None:
    settings = {**TINY, **KINDS[kind]}
    model = load_model(tmp_path, kept(settings, tmp_path))
    assert model.trial == TrialConfig(**settings)
    counts = stored_counts(tmp_path, model.trial.num_visits)
    assert {task: num_right(model, task) for task in range(K)} == counts
    assert len(set(counts.values())) > 1  # the tasks are told apart


@pytest.mark.parametrize("kind", INFERRING)
def test_a_loaded_network_infers_tasks_as_it_was_measured(kind: str, tmp_path: Path) -> None:
    model = load_model(tmp_path, kept({**TINY, **INFERRING[kind]}, tmp_path))
    for task, count in stored_counts(tmp_path).items():
        x_NI, labels_N = model.images(task)
        pairs = zip(x_NI.split(QUESTION), labels_N.split(QUESTION), strict=True)
        assert sum(int((model(x_BI).argmax(1) == labels_B).sum()) for x_BI, labels_B in pairs) == count


def test_layers_are_the_task_s_plain_network(tmp_path: Path) -> None:
    model = load_model(tmp_path, kept(TINY, tmp_path))
    x, _ = model.images(1)
    h = x
    for place, (weight, bias) in enumerate(layers := model.layers(1)):
        h = h @ weight + bias
        h = h.relu() if place < len(layers) - 1 else h
    torch.testing.assert_close(h, model(x, 1))


@pytest.mark.parametrize(
    ("settings", "task", "match"),
    [
        ({}, 3, "task=3 must be from 0 to 2"),
        ({}, None, "was told the task of each test batch"),
        ({"trunk": "independent", **PLAIN}, 0, "that of the last task alone is kept; use task=2"),
        ({"lr": 1e30}, 0, "diverged at step"),
    ],
)
def test_what_was_not_trained_or_kept_is_refused(
    settings: dict[str, Any], task: int | None, match: str, tmp_path: Path
) -> None:
    name = kept({**TINY, **settings}, tmp_path)
    with pytest.raises(ValueError, match=match):
        load_model(tmp_path, name)(torch.zeros(1, 64), task)


def test_a_net_of_its_own_is_there_for_the_last_task(tmp_path: Path) -> None:
    model = load_model(tmp_path, kept({**TINY, "trunk": "independent", **PLAIN}, tmp_path))
    assert num_right(model, K - 1) == stored_counts(tmp_path)[K - 1]


def test_a_state_that_is_not_there_is_said_to_be_missing(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="keep_models: true"):
        load_model(tmp_path, "0123456789abcdef")


def test_a_state_of_before_trials_were_kept_with_it_is_refused(tmp_path: Path) -> None:
    name = kept(TINY, tmp_path)
    path = tmp_path / "states" / f"{name}.pt"
    state = torch.load(path, weights_only=True)
    del state["trial"]
    torch.save(state, path)
    with pytest.raises(ValueError, match="an older psp kept it"):
        load_model(tmp_path, name)


def test_retrieval_has_no_state_to_load(tmp_path: Path) -> None:
    kept({"width": 16, "num_tasks": 4}, tmp_path, "retrieval")
    assert not TrialStore(str(tmp_path)).kept()


def test_a_prediction_is_a_trained_network(tmp_path: Path) -> None:
    settings = {**TINY, "predicted_tasks": 3}
    model = load_model(tmp_path, kept(settings, tmp_path, "prediction"))
    assert {task: num_right(model, task) for task in range(K)} == stored_counts(tmp_path)

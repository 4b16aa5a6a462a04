"""What trials say that they cost is what networks have, what is saved of them, and what PyTorch counts."""

from math import prod
from typing import Any

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from psp_core.accounts import ACCOUNTS
from psp_core.contexts import CONTEXTS
from psp_core.datasets import load_dataset
from psp_core.kept import KINDS
from psp_core.methods.superposed import build_model
from psp_core.training import PackTraining, train
from psp_core.trial import Trial, TrialConfig
from tests.contracts import rng

CPU = torch.device("cpu")
TINY: dict[str, Any] = {
    "dataset": "digits", "width": 12, "num_tasks": 3, "steps_per_task": 4, "batch_size": 8, "context": "none",
}  # fmt: skip
CONVOLUTIONS: dict[str, Any] = {"model": "small-conv", "width": 4, "norm": "per-task"}
OF_SPLIT: dict[str, Any] = {"stream": "split", "classes_per_task": 3}


def trial_of(**settings: Any) -> Trial:
    return TrialConfig(**{**TINY, **settings})


def trained(trial: Trial) -> PackTraining:
    """Without any test."""
    training = PackTraining([trial], load_dataset("digits"), CPU)
    for training.tasks_seen in range(trial.num_visits):
        training.begin_task(training.tasks_seen)
        training.take_steps()
    return training


def in_place(into: Any, one: Any, other: Any, **_: Any) -> int:
    """Operations of `addmm_` and `baddbmm_`, which PyTorch leaves out, from shapes."""
    return 2 * prod(one) * int(other[-1])


def flops(work: Any, *, masks_are_products: bool = True) -> int:
    """Operations of products, as PyTorch counts them; those of one mask alone are what unpacking it is written as."""
    others = {torch.ops.aten.baddbmm_: in_place} | ({torch.ops.aten.addmm_: in_place} if masks_are_products else {})
    with FlopCounterMode(display=False, custom_mapping=others) as counter:
        work()
    return int(counter.get_total_flops())


@pytest.mark.parametrize(
    "settings",
    [
        *({"context": name} for name in CONTEXTS),
        *({"context": name, "learned_contexts": True} for name in ("binary", "complex")),
        {"context": "binary", "contexts_per_task": 2},
        {"context": "binary", "schedule": "cosine-of-two"},
        {"context": "complex", "schedule": "one-power"},
        {"context": "complex", "schedule": "one-power", "learned_contexts": True},
        {"context": "binary", "output_contexts": True},
        {"context": "binary", "output_contexts": True, "learned_contexts": True, "trunk": "first-task"},
        {"context": "binary", "learned_contexts": True, "trunk": "random"},
        {"trunk": "per-task"},
        {"heads": "per-task", **OF_SPLIT},
        {"heads": "per-task", "context": "binary", **OF_SPLIT},
        {"context": "binary", **CONVOLUTIONS},
        {"context": "binary", "channel_contexts": True, **CONVOLUTIONS},
        {"trunk": "per-task", **CONVOLUTIONS, "norm": "affine"},
        {"context": "binary", "model": "resnet-18", "width": 2, "output_contexts": True},
        {"method": "supsup"},
        {"method": "supsup", "heads": "per-task", **OF_SPLIT},
        {"method": "supsup", **CONVOLUTIONS},
        {"method": "hopsupsup", **OF_SPLIT, "keep_labels": True},
    ],
    ids=str,
)
def test_bytes_are_those_of_the_networks(settings: dict[str, Any]) -> None:
    trial = trial_of(**settings)
    storage, facts = trial.method.start([trial], CPU).storage[0], trial.facts
    assert facts["answer_bytes_per_task"] == storage.bytes_per_task
    once = 4 * storage.num_params + storage.bytes_once
    assert facts["answer_bytes"] == once + trial.num_tasks * storage.bytes_per_task


def test_kinds_add_up() -> None:
    facts: dict[str, Any] = trial_of(method="supsup", transfer="previous", heads="per-task", **OF_SPLIT).facts
    for end in ("bytes", "bytes_per_task"):
        assert facts[f"kept_{end}"] == sum(facts[f"{kind}_{end}"] for kind in KINDS)
    assert facts["kept_bytes"] - facts["answer_bytes"] == facts["scores_bytes"] > 0


def test_weights_and_heads_are_saved_in_as_many_bytes() -> None:
    trial = trial_of(heads="per-task", **OF_SPLIT)
    model, facts = build_model(trial, CPU), trial.facts
    assert facts["weights_bytes"] == sum(parameter.nbytes for parameter in model.parameters())
    assert facts["heads_bytes"] == sum(buffer.nbytes for buffer in model.buffers() if buffer.numel())


def test_trained_contexts_and_statistics_are_saved_in_as_many_bytes() -> None:
    trial = trial_of(context="complex", learned_contexts=True)
    assert trial.facts["contexts_bytes"] == sum(buffer.nbytes for buffer in build_model(trial, CPU).buffers())
    trial = trial_of(**CONVOLUTIONS)
    assert trial.facts["statistics_bytes"] == sum(b.nbytes for b in build_model(trial, CPU).buffers() if b.numel())


def test_masks_and_scores_are_saved_in_as_many_bytes() -> None:
    trial = trial_of(method="supsup", transfer="running-mean", width=16)
    state = trained(trial).member_state(0)["learner"]
    assert trial.facts["masks_bytes"] == state["masks"]["bits"].nbytes
    assert trial.facts["scores_bytes"] == state["transferred"].nbytes  # without what lies between layers: all fill 128
    trial = trial_of(method="hopsupsup", **OF_SPLIT, keep_labels=True)
    memories = trained(trial).member_state(0)["learner"]["hopfield"]
    assert trial.facts["masks_bytes"] == sum(memory[name].nbytes for memory in memories for name in ("psi", "sum"))


def test_joint_training_keeps_every_tasks_images() -> None:
    dataset, facts = load_dataset("digits"), trial_of(joint=True).facts
    assert isinstance(dataset.train_images, torch.Tensor)
    one = dataset.train_images.nbytes + len(dataset.train_labels)  # a byte for each label
    assert (facts["images_bytes"], facts["images_bytes_per_task"]) == (3 * one, one)
    assert facts["kept_bytes"] - facts["answer_bytes"] == 3 * one  # type: ignore[operator]


@pytest.mark.parametrize(
    ("protect", "names"), [({"name": "ewc", "strength": 1}, {"fisher", "pull"}), ("si", {"importance", "anchor"})]
)
def test_what_a_protection_remembers_between_tasks_is_counted(protect: Any, names: set[str]) -> None:
    trial = trial_of(protect=protect, width=32, depth=1)  # layers fill 128 bytes, but for the last one's biases
    protected = trained(trial).member_state(0)["learner"]["protected"]
    saved = sum(protected[name].nbytes for name in names)
    assert 0 <= saved - trial.facts["protection_bytes"] < len(names) * 128
    assert trial.facts["kept_bytes"] - trial.facts["answer_bytes"] == trial.facts["protection_bytes"]


def test_masks_without_a_task_count_as_they_are_in_use() -> None:
    trial = trial_of(method="nns", steps_per_decision=2, new_mask_eps=0.5)
    (result,) = train([trial], progress=False)
    notes, used = result.outcomes(), result.notes["num_masks"]
    assert notes["masks_bytes"] == notes["answer_bytes"] == notes["total_bytes"]
    assert notes["kept_bytes"] == used * notes["kept_bytes_per_task"]
    assert notes["kept_bytes_per_task"] == trial.facts["kept_bytes_per_task"]


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"depth": 0, "width": 256},
        {"num_cycles": 2},
        {"trunk": "per-task"},
        {"heads": "per-task", **OF_SPLIT},
        {"protect": {"name": "ewc", "strength": 1, "samples": 20}},
        {"protect": {"name": "ewc", "strength": 1}, "context": "householder", "num_tasks": 2},
        {"protect": "si"},
        {"method": "supsup"},
        {"method": "hopsupsup", **OF_SPLIT, "keep_labels": True},
        {"model": "small-conv", "width": 4, "steps_per_task": 2},
    ],
    ids=str,
)
def test_operations_of_training_are_pytorchs(settings: dict[str, Any]) -> None:
    trial = trial_of(**settings)
    assert trial.facts["train_flops"] == flops(lambda: trained(trial))


@pytest.mark.parametrize(
    "settings",
    [{}, {"context": "rotation"}, {"model": "small-conv", "width": 4}, {"heads": "per-task", **OF_SPLIT}],
    ids=str,
)
def test_operations_of_an_answer_are_pytorchs(settings: dict[str, Any]) -> None:
    trial = trial_of(**settings)
    model = build_model(trial, CPU).eval()
    with torch.no_grad():
        assert trial.facts["answer_flops"] == flops(lambda: model(torch.rand(1, 64, generator=rng()), 1))


@pytest.mark.parametrize("num_tasks", [1, 5])
@pytest.mark.parametrize(
    "settings",
    [
        {"task_inference": "entropy-one-shot"},
        {"task_inference": "entropy-one-shot", "inference_images": 3},
        {"task_inference": "entropy-one-shot", "inference_layers": "first"},
        {"task_inference": "entropy-binary"},
        {"task_inference": "entropy-gradient-descent", "inference_steps": 2, "inference_lr": 0.1},
        {"task_inference": "entropy-exhaustive"},
    ],
    ids=str,
)
@pytest.mark.parametrize("method", ["supsup", "psp"])
def test_operations_of_finding_a_task_are_pytorchs(method: str, settings: dict[str, Any], num_tasks: int) -> None:
    if method == "supsup" and "inference_layers" in settings:
        pytest.skip("of contexts alone")
    trial = trial_of(**settings, method=method, context="none" if method == "supsup" else "binary", num_tasks=num_tasks)
    training = trained(trial)
    finder = training.learner.answerer(num_tasks).networks  # type: ignore[attr-defined]
    question = torch.rand(1, trial.method.inference.images, 64, generator=rng())  # type: ignore[attr-defined]
    searches = bool(trial.method.inference.search(num_tasks).gradients)  # type: ignore[attr-defined]
    counted = flops(lambda: finder.find(0, question), masks_are_products=searches)
    assert trial.facts["find_flops"] == counted


def test_every_account_is_of_every_trial() -> None:
    assert ACCOUNTS.keys() <= trial_of().facts.keys()

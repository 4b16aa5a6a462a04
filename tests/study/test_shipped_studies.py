"""Every shipped study can be built as it stands, and has the settings that its paper prints."""

from collections.abc import Hashable

import pytest
import torch

from psp_core.datasets import Dataset
from psp_core.groups import Stretch
from psp_core.images import Images, StepBatch, inputs_of
from psp_core.trial import Trial
from study.shipped import shipped_studies
from study.spec import load_study

META = torch.device("meta")
LATER = {
    "num_cycles", "task_inference", "inference_layers", "inference_images", "inference_lr", "inference_steps",
    "shared_labels", "weight_decay", "later_lr", "eval_tasks", "eval_samples", "eval_every", "eval_from",
    "eval_on", "validation", "protect_strength",
    "steps_per_task", "new_mask_eps", "steps_per_decision", "recovery_order", "recovery_lr", "recovery_gamma",
}  # fmt: skip
"""What a network and its first step do not depend on."""


def networks() -> dict[Hashable, tuple[str, Trial]]:
    """A trial of two tasks and small batches for each network that a shipped study trains, and a study that has it."""
    found: dict[Hashable, tuple[str, Trial]] = {}
    for name in shipped_studies():
        spec = load_study(name)
        for form in (spec, *([spec.reduced()] if spec.small else [])):
            for trial in form.trials():
                if isinstance(trial, Trial):
                    columns = trial.columns() | {
                        "num_tasks": 2,
                        "batch_size": 4,
                        "lr": None,
                        "momentum": None,
                        "seed": 0,
                    }
                    key = frozenset((column, value) for column, value in columns.items() if column not in LATER)
                    found.setdefault(key, (form.name, trial))
    return {key: (name, trial.replaced(num_tasks=2, batch_size=4)) for key, (name, trial) in found.items()}


def of_images(trial: Trial) -> Images:
    """A batch's inputs still to be made."""
    sizes = trial.dataset.sizes
    images = torch.empty(1, sizes.num_inputs, dtype=torch.uint8, device=META)
    labels = torch.zeros(1, dtype=torch.int64, device=META)
    data = Dataset(
        name="none", shape=sizes.shape, num_classes=sizes.num_classes, scale=255.0, mean=0.0, std=1.0,
        train_images=images, train_labels=labels, test_images=images, test_labels=labels,
    )  # fmt: skip
    tasks = trial.stream.tasks(sizes, trial.num_tasks, trial.seed)
    return Images(
        images_NI=images, samples_EB=torch.zeros(1, trial.batch_size, dtype=torch.int64, device=META), drawn_EB3=None,
        tasks=tasks, description_E=tasks.describe(0)[None].to(META), dataset=data, constants_2=None,
    )  # fmt: skip


def first_loss(trial: Trial) -> torch.Tensor:
    """The loss of a first step without numbers: shapes alone."""
    learner = trial.method.start([trial], META)
    labels = torch.zeros(1, trial.batch_size, dtype=torch.int64, device=META)
    batch: StepBatch = torch.empty(1, trial.batch_size, trial.dataset.sizes.num_inputs, device=META), labels
    if trial.columns().get("protect_budget"):
        batch = of_images(trial), labels
    learner.begin_task(0)
    learner.begin(
        Stretch(
            task=0,
            index=0,
            count=trial.method.num_stretches(trial),
            batch_size=trial.batch_size,
            first=lambda: (inputs_of(batch[0]), labels),
            recent=lambda _: iter(()),
            step_1=torch.zeros(1, dtype=torch.int64, device=META),
        )
    )
    return learner.gradients(batch)


def test_every_network_of_every_shipped_study_can_be_trained() -> None:
    """Built as for training, and taken through a step without numbers."""
    failed = {}
    for study, trial in networks().values():
        try:
            loss_E = first_loss(trial)
        except Exception as error:
            failed[study] = f"{trial}: {error!r}"
        else:
            assert loss_E.shape == (1,)
    assert not failed, "\n".join(f"{study}: {message}" for study, message in failed.items())


RMSPROP = {"optimiser": "rmsprop", "lr": 1e-4, "momentum": 0, "weight_decay": 0, "batch_size": 128}
ADAM = {"optimiser": "adam", "lr": 1e-3, "weight_decay": 1e-4, "batch_size": 128}
TASKS = {"steps_per_task": 1000, "lr_schedule": "constant"}
PERMUTING = {**RMSPROP, **TASKS, "stream": "permuting", "dataset": "mnist", "permute_first": False, "num_tasks": 50}
ROTATING = {
    **RMSPROP, "stream": "rotating", "steps_per_task": 100, "num_tasks": 10, "num_cycles": 50, "width": 256, "depth": 3,
}  # fmt: skip
CIFAR = {"optimiser": "rmsprop", "lr": 1e-3, "batch_size": 128, "model": "resnet-18", "width": 64, "norm": "static"}
SUPSUP_MNIST = {**TASKS, "dataset": "mnist", "stream": "permuting", "permute_first": True, "batch_size": 128}
LENET = {**SUPSUP_MNIST, "model": "lenet-300-100", "num_tasks": {10, 50, 100, 150, 200, 250}}
FC = {"model": "mlp", "width": 1024, "depth": 2}
TURNED = {
    **TASKS, **FC, "stream": "turned", "interpolation": "nearest", "num_tasks": {2, 5, 10, 15, 20, 25, 30, 35, 36},
}  # fmt: skip
SPLIT_CIFAR = {
    **ADAM, "dataset": "cifar-100", "stream": "split", "classes_per_task": 5, "shuffle_classes": True, "num_tasks": 20,
    "model": "resnet-18", "width": 20, "steps_per_task": 5000, "lr_schedule": "cosine", "warmup_steps": 0,
    "augmentation": "crop-flip", "normalisation": "by-channel", "seed": {0, 1, 2, 3, 4},
}  # fmt: skip
MASKS = {"method": "supsup", "frozen_weights": "signed-constant"}
BATCHE = {"output_contexts": True, "trunk": "first-task"}
OF_BATCHE = {
    "context": "binary", "learned_contexts": True, "optimiser": "adam", "lr": 1e-4, "later_lr": 1e-2,
    "weight_decay": 1e-4, "initial_weights": "kaiming-normal",
}  # fmt: skip
RANDOM_BATCHE = {**BATCHE, "trunk": "random"}

# Study, which of its trials, where papers.md has it, and what it says; several values in braces.
PRINTED: list[tuple[str, dict[str, object], str, dict[str, object]]] = [
    ("permuting-mnist-widths", {}, "A3, A7", {**PERMUTING, "width": {128, 256, 512, 1024, 2048}, "depth": 2}),
    ("permuting-mnist-256", {}, "A3, A7", {**PERMUTING, "width": 256, "depth": 2, "learned_contexts": False}),
    ("permuting-mnist-256-learned", {}, "A7", {**PERMUTING, "width": 256, "learned_contexts": True}),
    ("permuting-mnist-2000", {}, "A3, A7", {**PERMUTING, "width": 2000, "depth": 2}),
    ("rotating-fashion", {}, "A4, A7", {**ROTATING, "dataset": "fashion-mnist"}),
    ("rotating-mnist", {}, "A4, A7", {**ROTATING, "dataset": "mnist"}),
    ("rotating-fashion", {"contexts_per_task": 100}, "A4", {"context": "complex", "schedule": {"task", "local-mix"}}),
    ("rotating-fashion-deep", {}, "A7", {**ROTATING, "dataset": "fashion-mnist", "depth": {3, 10}}),
    ("incremental-cifar", {}, "A5, A7", {**CIFAR, "stream": "incremental", "num_tasks": 5, "steps_per_task": 20_000}),
    ("split-cifar-100", {}, "A7", {**CIFAR, "dataset": "cifar-100", "classes_per_task": 5, "num_tasks": 20}),
    ("supsup-mnist-lenet", {}, "B5", {**LENET, **RMSPROP}),
    ("supsup-mnist-lenet", {"method": "supsup"}, "B2, B5", {**MASKS, "masks": "threshold", "superfluous": 90}),
    ("supsup-mnist-fc", {}, "B5", {**LENET, **RMSPROP, **FC}),
    ("supsup-mnist-fc", {"method": "supsup"}, "B2, B5", {**MASKS, "superfluous": 490, "inference_images": 1}),
    (
        "supsup-mnist-2500", {}, "B5",
        {
            **LENET, **RMSPROP, **MASKS, "method": {"supsup", "nns"}, "superfluous": 490,
            "num_tasks": {10, 500, 1000, 1500, 2000, 2500},
        },
    ),
    ("supsup-mnist-2500", {"shared_labels": True}, "B1", {"new_mask_eps": 2**-3, "steps_per_decision": 100}),
    ("supsup-rivals-mnist", {}, "B5", LENET),
    ("supsup-rivals-mnist", {"method": "supsup"}, "B5", {**RMSPROP, **MASKS, "superfluous": 90}),
    ("supsup-rivals-mnist", BATCHE, "B5", OF_BATCHE),
    ("supsup-rivals-mnist", {"trunk": "per-task"}, "B3", {"context": "none", "heads": "shared", "weight_decay": 1e-4}),
    ("supsup-rotated-mnist", {}, "B5", TURNED),
    (
        "supsup-rotated-mnist", {"method": "supsup"}, "B2, B5",
        {**RMSPROP, "superfluous": 190, "task_inference": "entropy-binary", "inference_images": 128},
    ),
    ("supsup-rotated-mnist", BATCHE, "B5", OF_BATCHE),
    ("supsup-split-cifar-100", {"trunk": "shared"}, "B5", SPLIT_CIFAR),
    ("supsup-split-cifar-100", {"method": "supsup", "transfer": "random"}, "B5", {"sparsity": {1, 2, 4, 8, 16, 32}}),
    ("supsup-split-cifar-100", {"method": "supsup"}, "B4, B5", {**MASKS, "masks": "top-k", "norm": "per-task"}),
    ("supsup-split-cifar-100", {"trunk": "per-task"}, "B4, B5", {**SPLIT_CIFAR, "norm": "affine"}),
    (
        "supsup-split-cifar-100", RANDOM_BATCHE, "B4, B5",
        {**SPLIT_CIFAR, "learned_contexts": True, "channel_contexts": True, "lr": 0.1, "initial_weights": "pytorch"},
    ),
    ("supsup-split-cifar-100", {"heads": "per-task", "trunk": "first-task"}, "B5", {**SPLIT_CIFAR, "later_lr": 1e-2}),
    ("supsup-split-cifar-100", {"heads": "per-task", "trunk": "random"}, "B5", {**SPLIT_CIFAR, "lr": 1e-2}),
    (
        "supsup-split-imagenet", {}, "B1, B5",
        {
            **ADAM, **MASKS, "weight_decay": 0, "batch_size": 256, "model": "resnet-50", "width": 64, "num_tasks": 100,
            "classes_per_task": 10, "sparsity": {4, 8, 16}, "lr_schedule": "cosine", "warmup_steps": 250, "seed": 0,
        },
    ),
    (
        "hopsupsup-split-mnist", {}, "B5",
        {
            "stream": "split", "classes_per_task": 2, "num_tasks": 5, "keep_labels": True, "width": 2048, "depth": 2,
            "steps_per_task": 94, "batch_size": 128, "optimiser": "sgd", "lr": 0.1, "momentum": 0.9,
            "weight_decay": 1e-4, "test_batch_size": 64,
        },
    ),
    (
        "hopsupsup-split-mnist", {"recovery_order": "together"}, "B4",
        {"recovery_lr": 500, "recovery_gamma": 1.5e-3, "hopfield_rule": {"hebb", "storkey"}},
    ),
]  # fmt: skip


@pytest.mark.parametrize(("study", "which", "source", "printed"), PRINTED)
def test_a_study_has_the_settings_that_its_paper_or_code_prints(
    study: str, which: dict[str, object], source: str, printed: dict[str, object]
) -> None:
    trials = [trial.row for trial in load_study(study).trials()]
    chosen = [trial for trial in trials if all(trial[name] == value for name, value in which.items())]
    assert chosen
    found = {name: {trial[name] for trial in chosen} for name in printed}
    assert found == {name: value if isinstance(value, set) else {value} for name, value in printed.items()}, source

"""Results to the last bit, for changes that must not touch them, such as moving code.

`python -m tests.golden_results record FILE` with the code as it was; then, on the same machine, `compare FILE` with the
code as it is. Tiny packs, one or more for each method and each way to a gradient, train in one go, and again with an
interruption after the first task. A file is of no use elsewhere: another processor rounds otherwise.
"""

import argparse
import io
import json
import sys
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any, Final

import torch

import psp_core
from psp_core.accounts import ACCOUNTS
from psp_core.datasets import DATASETS, Dataset, load_dataset
from psp_core.randomness import generator
from psp_core.result import TrialResult
from psp_core.retrieval import Retrieval, RetrievalConfig, RetrievalResult
from psp_core.training import PackTraining
from psp_core.trial import TrialConfig

Training = PackTraining | Retrieval

CPU: Final = torch.device("cpu")
MOST_SHOWN: Final = 10
"""Differences of one pack that are printed."""


MEASURED: Final = ("accuracy", "loss", "num_samples", "inferred")
"""What a curve's point has, in order."""
KINDS: Final = {"num_samples": int}


def numbers(result: TrialResult | RetrievalResult) -> dict[str, Any]:
    """All that a trial measured, but for its seconds: the one place here that knows what results are called."""
    if isinstance(result, RetrievalResult):
        return {"crosstalk": [vars(row) for row in result.crosstalk]}
    unmeasured = torch.full_like(result.loss, float("nan"))
    return {
        "accuracy": result.accuracy,
        "loss": result.loss,
        "num_samples": result.num_samples,
        "inferred": result.answers.get("inferred", unmeasured),
        "mask_agreement": result.answers.get("mask_agreement", unmeasured),
        "curve": [
            [step, task, *(KINDS.get(name, float)(measured.get(name, "nan")) for name in MEASURED)]
            for step, task, measured in result.curve
        ],
        "diverged_at": result.diverged_at,
        "num_params": result.num_params,
        "context_bytes_once": result.context_bytes_once,
        "context_bytes_per_task": result.context_bytes_per_task,
        "notes": {name: value for name, value in result.notes.items() if name not in ACCOUNTS},  # they are counted
    }


CONTEXTS: Final = (
    "fourier", "gaussian", "hadamard", "householder", "mask", "one-power", "permutation", "rotation-powers",
    "signed-permutation", "structured-rotation", "structured-rotation-1", "ternary",
)  # fmt: skip
SCHEDULES: Final = (
    "blend", "cosine-of-two", "cumulative-product", "local-product", "one-power", "redrawn", "temp-mix",
)  # fmt: skip
FROZEN_WEIGHTS: Final = ("kaiming-normal", "kaiming-uniform", "default")
TINY: Final[dict[str, Any]] = {
    "dataset": "digits", "width": 16, "num_tasks": 3, "steps_per_task": 20, "batch_size": 16, "lr": 0.01,
}  # fmt: skip
SPLIT: Final[dict[str, Any]] = {"stream": "split", "classes_per_task": 3}
CONV: Final[dict[str, Any]] = {**SPLIT, "model": "small-conv", "width": 8}
BATCHE: Final[dict[str, Any]] = {
    "learned_contexts": True, "output_contexts": True, "trunk": "first-task", "later_lr": 0.03, "optimiser": "adam",
}  # fmt: skip
SUPSUP: Final[dict[str, Any]] = {"method": "supsup", "context": "none", "lr": 0.001}
TOP_K: Final[dict[str, Any]] = {**SUPSUP, "masks": "top-k", "sparsity": 8.0}
HOPSUPSUP: Final[dict[str, Any]] = {
    **SPLIT, "method": "hopsupsup", "context": "none", "classes_per_task": 2, "keep_labels": True, "width": 32,
    "optimiser": "sgd", "lr": 0.1, "test_batch_size": 64,
}  # fmt: skip

TRIALS: Final[dict[str, dict[str, Any]]] = {
    "no context": {"context": "none"},
    "binary": {},
    "complex": {"context": "complex"},
    "rotation": {"context": "rotation"},
    "permutation, bfloat16": {"context": "permutation", "precision": "bfloat16"},
    "plain complex": {"context": "plain-complex"},
    "local mix": {"context": "complex", "schedule": "local-mix", "contexts_per_task": 2},
    "learned contexts": {"context": "complex", "learned_contexts": True, "weight_decay": 0.01},
    "learned blend": {"schedule": "blend", "learned_contexts": True},
    "learned cosine of two": {"context": "complex", "schedule": "cosine-of-two", "learned_contexts": True},
    "batche": BATCHE,
    "batche, random trunk, kaiming": {
        "learned_contexts": True, "output_contexts": True, "trunk": "random", "initial_weights": "kaiming-normal",
    },
    "batche of convolutions": {
        **CONV, **BATCHE, "channel_contexts": True, "norm": "per-task", "initial_weights": "pytorch",
    },
    "heads": {**SPLIT, "heads": "per-task", "shuffle_classes": True},
    "heads after the first task": {**SPLIT, "heads": "per-task", "context": "none", "trunk": "first-task"},
    "a net per task": {"context": "none", "trunk": "per-task", "eval_tasks": "ends", "eval_every": 10},
    "convolutions, statistics per task": {
        **CONV, "norm": "per-task", "augmentation": "crop-flip", "steps_per_task": 60,
    },
    "convolutions, affine": {**CONV, "context": "none", "norm": "affine", "trunk": "per-task"},
    "convolutions, heads": {**CONV, "heads": "per-task", "test_batch_size": 20},
    "resnet-18, incremental": {
        "dataset": "cifar-10-100", "stream": "incremental", "model": "resnet-18", "width": 4, "num_tasks": 2,
        "steps_per_task": 3, "normalisation": "by-channel",
    },
    "resnet-50": {**SPLIT, "model": "resnet-50", "width": 4, "steps_per_task": 4},
    "lenet, cosine after a warm-up": {
        "model": "lenet-300-100", "width": 256, "lr": 0.001, "lr_schedule": "cosine", "warmup_steps": 3,
    },
    "multistep, sgd": {"optimiser": "sgd", "lr_schedule": "multistep", "lr_decay_steps": 8},
    "cycles of learned contexts": {"stream": "rotating", "num_cycles": 2, "learned_contexts": True},
    "turned, with a curve": {
        "stream": "turned", "interpolation": "nearest", "num_tasks": 2, "eval_every": 5, "eval_from": 1,
        "eval_samples": 100, "milestones": (1,),
    },
    "contexts inferred": {"task_inference": "entropy-binary", "inference_images": 8},
    "contexts inferred by descent": {
        "superfluous": 10, "task_inference": "superfluous-gradient-descent", "inference_lr": 0.5, "inference_steps": 3,
        "inference_layers": "first", "shared_labels": True,
    },
    "supsup": {**SUPSUP, "transfer": "running-mean", "eval_every": 10},
    "supsup top-k, inferred": {**TOP_K, "task_inference": "entropy-one-shot", "superfluous": 20},
    "supsup top-k, superfluous": {**TOP_K, "task_inference": "superfluous-one-shot", "superfluous": 20},
    "supsup, every task asked": {**SUPSUP, "task_inference": "entropy-exhaustive", "transfer": "previous"},
    "supsup of convolutions, heads": {**SUPSUP, **CONV, "norm": "per-task", "heads": "per-task"},
    "supsup of convolutions, inferred": {**TOP_K, **CONV, "depth": 1, "task_inference": "entropy-one-shot"},
    "supsup, no task told": {
        **SUPSUP, "task_inference": "entropy-one-shot", "inference_images": 16, "shared_labels": True,
        "new_mask_eps": 0.125, "steps_per_decision": 10,
    },
    "hopsupsup": HOPSUPSUP,
    "hopsupsup, layer by layer": {**HOPSUPSUP, "recovery_order": "layer-by-layer", "hopfield_rule": "hebb"},
    "one of two diverges": {"context": "none", "optimiser": "sgd", "num_tasks": 2},
    "a single layer": {"depth": 0, "width": 256, "permute_first": True, "optimiser": "adam"},
    **{f"context {name}": {"context": name} for name in CONTEXTS},
    **{f"schedule {name}": {"context": "complex", "contexts_per_task": 2, "schedule": name} for name in SCHEDULES},
    **{f"frozen weights {name}": {**SUPSUP, "frozen_weights": name} for name in FROZEN_WEIGHTS},
}  # fmt: skip
"""Settings beside those of `TINY`, by a name of the pack."""
SECOND: Final[dict[str, dict[str, Any]]] = {"one of two diverges": {"lr": 1e30}}
"""What a pack's second member has otherwise, where that is not as usual."""


def packs() -> Iterator[tuple[str, Callable[[], Training]]]:
    """Each pack by name, and what makes it anew; its two members differ in whatever members may."""
    for name, settings in TRIALS.items():
        first = {**TINY, **settings}
        second = {"seed": 1, "lr": first["lr"] / 2} | ({} if first.get("optimiser") == "adam" else {"momentum": 0.5})
        configs = [TrialConfig(**first), TrialConfig(**{**first, **second, **SECOND.get(name, {})})]
        yield name, partial(PackTraining, configs, images(first["dataset"]), CPU)
    for context in ("complex", "rotation"):
        config = RetrievalConfig(context=context, width=32, num_tasks=8, num_draws=2, alignment=0.3, support=0.7)
        yield f"retrieval of {context}", partial(Retrieval, config, CPU)


def images(name: str) -> Dataset:
    """A data set; of those that are no part of a package, noise of the same shape."""
    if name == "digits":
        return load_dataset(name)
    sizes, rng = DATASETS[name].sizes, generator(0, "noise")
    labels = torch.arange(sizes.num_classes).repeat(2)
    pixels = torch.randint(256, (len(labels), sizes.num_inputs), dtype=torch.uint8, generator=rng)
    return Dataset(
        name=name, shape=sizes.shape, num_classes=sizes.num_classes, scale=255.0, mean=0.5, std=0.3,
        train_images=pixels, train_labels=labels, test_images=pixels, test_labels=labels, channels=sizes.channels,
    )  # fmt: skip


def finish(training: Training) -> Any:
    """Train what is left; the members' numbers, each to its last bit."""
    while not training.done:
        training.train_task()
    return exact([numbers(result) for result in training.results()])


def interrupted(training: Training, rest: Training) -> Any:
    """The same, where the first task is trained here and the others there, from a file between them."""
    training.train_task()
    file = io.BytesIO()
    torch.save([training.member_state(e) for e in range(len(training.results()))], file)
    file.seek(0)
    rest.load_member_states(torch.load(file, weights_only=True))
    return finish(rest)


def exact(value: Any) -> Any:
    """The same for a JSON file, with each float in hexadecimal."""
    if isinstance(value, torch.Tensor):
        return exact(value.tolist())
    if isinstance(value, dict):
        return {key: exact(part) for key, part in value.items()}
    if isinstance(value, list):
        return [exact(part) for part in value]
    return value.hex() if isinstance(value, float) else value


def flat(value: Any, path: str = "") -> dict[str, Any]:
    """Every number by where it stands."""
    if not isinstance(value, dict | list):
        return {path: value}
    parts = value.items() if isinstance(value, dict) else enumerate(value)
    return {place: number for key, part in parts for place, number in flat(part, f"{path}[{key}]").items()}


def differences(name: str, expected: Any, found: Any) -> list[str]:
    """A line for each number of a pack that is not as expected, the first few."""
    before, now = flat(expected), flat(found)
    places = [place for place in before | now if before.get(place) != now.get(place)]
    lines = [f"{name}: {at} was {shown(before.get(at))}, is {shown(now.get(at))}" for at in places[:MOST_SHOWN]]
    return [*lines, f"{name}: {len(places) - MOST_SHOWN} more"] if len(places) > MOST_SHOWN else lines


def shown(number: Any) -> str:
    """A number for people; it, too, has all bits."""
    return repr(float.fromhex(number) if isinstance(number, str) else number)


def main(command: str, file: Path) -> int:
    """Record or compare; 1 where anything differs."""
    torch.set_num_threads(1)
    found, wrong = dict[str, Any](), list[str]()
    for name, make in packs():
        found[name] = finish(make())
        wrong += differences(f"{name}, interrupted", found[name], interrupted(make(), make()))
    if command == "record":
        file.write_text(json.dumps(found, indent=1))
    else:
        expected = json.loads(file.read_text())
        for name in expected | found:
            wrong += differences(name, expected.get(name), found.get(name))
    print(*wrong, f"{len(found)} packs of {Path(psp_core.__file__).parent}: {len(wrong)} lines differ.", sep="\n")
    return 1 if wrong else 0


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("command", choices=["record", "compare"])
    parser.add_argument("file", type=Path)
    arguments = parser.parse_args()
    sys.exit(main(arguments.command, arguments.file))

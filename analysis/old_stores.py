"""What trials say of themselves whose stores are older than the columns `curve`, `curve_of` and `experiment`.

Frozen: nothing is to be added here. Until November 2026 a store had a trial's settings alone, and analysis made the
labels of curves from them by these rules, with these defaults. Stores of that time are read as long as there are any.
A method or setting that is younger stands only in stores that say all three themselves.

`described` is the entry point: the three columns, from a trial's settings.
"""

import json
from collections.abc import Iterator, Mapping
from typing import Any, Final

import pandas as pd

DEFAULTS: Final[dict[str, Any]] = {
    "dataset": "mnist", "normalisation": "data-set", "stream": "permuting", "permute_first": False,
    "classes_per_task": None, "shuffle_classes": False, "keep_labels": False, "interpolation": "bilinear",
    "augmentation": "none", "num_cycles": 1, "frozen_weights": "signed-constant", "masks": "threshold",
    "sparsity": None, "transfer": "random", "superfluous": 0, "task_inference": "given", "inference_images": 1,
    "new_mask_eps": None, "steps_per_decision": 100, "trunk": "shared", "inference_layers": "all",
    "inference_lr": None, "inference_steps": None, "shared_labels": False, "hopfield_rule": "storkey",
    "recovery_order": "together", "recovery_lr": 500.0, "recovery_gamma": 1.5e-3, "model": "mlp", "heads": "shared",
    "norm": "static", "initial_weights": "usual", "context": "binary", "contexts_per_task": 1, "schedule": "task",
    "learned_contexts": False, "output_contexts": False, "channel_contexts": False, "depth": 2,
    "optimiser": "rmsprop", "later_lr": None, "lr_schedule": "constant", "warmup_steps": 0, "lr_decay_steps": None,
    "lr_decay": 0.1, "momentum": 0.0, "weight_decay": 0.0, "batch_size": 128, "steps_per_task": 1000,
    "eval_tasks": "all", "eval_samples": None, "test_batch_size": 1000, "precision": "tf32",
}  # fmt: skip
RETRIEVAL: Final[dict[str, Any]] = {"num_draws": 8, "alignment": 0.0, "support": 1.0}
MOMENTS: Final = ("eval_every", "eval_from")  # when a trial was measured: no part of its experiment
WHOLE: Final = {"classes_per_task", "inference_steps", "lr_decay_steps", "eval_samples"}  # numbers, where there are any
WITH_MASKS: Final = ("supsup", "hopsupsup")  # whose context is none

RENAMED_SCHEDULES: Final = {"random": "redrawn", "cosine": "blend"}  # as those trials had them, and as they are now
# Where a task depends on how many there are, or the contexts in use do, trials of fewer tasks are not the beginning.
# Trials say so of themselves now (`nested_tasks`, `nested_contexts`).
WHOLE_STREAMS: Final = {"rotating"}
WHOLE_SCHEDULES: Final = {"local-mix", "local-product", "redrawn", "blend"}

DESCRIBED: Final = ["curve", "curve_of", "experiment"]


def completed(trials: pd.DataFrame) -> pd.DataFrame:
    """The trials with all settings of that time and the columns DESCRIBED, which are made where they are null."""
    there = [*DEFAULTS, *MOMENTS, "method", "nested_tasks", "nested_contexts", *DESCRIBED]
    trials = trials.reindex(columns=[*trials, *(column for column in there if column not in trials)])
    old = trials["curve"].isna()
    trials["schedule"] = trials["schedule"].where(~old, trials["schedule"].replace(RENAMED_SCHEDULES))
    trials = trials.assign(**{column: _filled(trials[column], default) for column, default in DEFAULTS.items()})
    for column, by_name in (
        ("nested_tasks", ~trials["stream"].isin(WHOLE_STREAMS)),
        ("nested_contexts", ~trials["schedule"].isin(WHOLE_SCHEDULES)),
    ):
        trials[column] = trials[column].astype(object).where(trials[column].notna(), by_name).astype(bool)
    made = described(trials[old])
    return trials.assign(**{name: trials[name].astype(object).fillna(made[name]) for name in DESCRIBED})


def _filled(values: "pd.Series[Any]", default: Any) -> "pd.Series[Any]":  # noqa: ANN401
    return values if default is None else values.astype(object).where(values.notna(), default).astype(type(default))


def described(trials: pd.DataFrame) -> pd.DataFrame:
    """The columns DESCRIBED of trials that have none, by index.

    Args:
        trials: columns DEFAULTS, filled, and `method`; of retrieval trials the columns RETRIEVAL.
    """
    names = [name for name in ("method", *DEFAULTS, *RETRIEVAL) if name in trials]
    number = trials.groupby(names, dropna=False, sort=False).ngroup()  # few differ in more than seed and lr
    rows = trials.loc[~number.duplicated(), names].astype(object)
    rows = rows.where(rows.notna(), None)
    texts = [_described(dict(zip(names, row, strict=True))) for row in rows.itertuples(index=False, name=None)]
    found = pd.DataFrame(texts, columns=DESCRIBED, dtype=object)
    return found.iloc[number.to_numpy()].set_axis(trials.index)


def _described(trial: Mapping[str, Any]) -> tuple[str, str, str]:
    pieces = dict(_pieces(trial))
    if trial["method"] == "retrieval":
        defaults = RETRIEVAL
    else:
        said = {*pieces, *(("context",) if trial["method"] in WITH_MASKS else ())}
        defaults = {name: default for name, default in DEFAULTS.items() if name not in said}
    other = {name: _plain(name, trial[name], default) for name, default in defaults.items() if trial[name] != default}
    return "".join(pieces.values()), _json(pieces), _json(dict(sorted(other.items())))


def _plain(name: str, value: Any, default: Any) -> Any:  # noqa: ANN401
    """A value as the setting's type has it; a column with nulls has floats for whole numbers."""
    return type(default)(value) if default is not None else int(value) if name in WHOLE else float(value)


def _json(content: Mapping[str, Any]) -> str:
    return json.dumps(content, separators=(",", ":"))


def _pieces(trial: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """The parts of a curve's label, each with the setting that it is about; empty where another part implies it."""
    if trial["method"] == "retrieval":
        yield "context", trial["context"]
        return
    of_method = {"supsup": _of_masks, "hopsupsup": _of_hopfield}.get(trial["method"], _of_contexts)
    yield from of_method(trial)
    yield from _of_inference(trial)


def _of_masks(trial: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """`supsup`, `supsup, top-k 8`: threshold masks of signed constants unless it says otherwise."""
    yield "method", "supsup"
    if trial["frozen_weights"] != "signed-constant":
        yield "frozen_weights", f", {trial['frozen_weights']}"
    if trial["masks"] != "threshold":
        yield "masks", f", {trial['masks']}"
        if trial["sparsity"] is not None:
            yield "sparsity", f" {trial['sparsity']:g}"
    if trial["transfer"] != "random":
        yield "transfer", f", {trial['transfer']} scores"
    if trial["heads"] == "per-task":
        yield "heads", ", head per task"


def _of_hopfield(trial: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """`hopsupsup, storkey`, `hopsupsup, hebb, layer-by-layer`: the paper's recovery unless it says otherwise."""
    yield "method", "hopsupsup"
    yield "hopfield_rule", f", {trial['hopfield_rule']}"
    if trial["recovery_order"] != "together":
        yield "recovery_order", f", {trial['recovery_order']}"
    if trial["recovery_lr"] != 500:
        yield "recovery_lr", f", lr {trial['recovery_lr']:g}"
    if trial["recovery_gamma"] != 1.5e-3:
        yield "recovery_gamma", f", gamma {trial['recovery_gamma']:g}"


def _of_contexts(trial: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """`complex x100, local-mix`, `none, head per task`, `batche`: a context for each task unless it says otherwise."""
    is_batche = trial["output_contexts"] and trial["learned_contexts"]
    of_batche = "batche" if trial["context"] == "binary" else f"batche {trial['context']}"
    yield "context", of_batche if is_batche else trial["context"]
    if trial["contexts_per_task"] != 1:
        yield "contexts_per_task", f" x{trial['contexts_per_task']}"
    if trial["schedule"] != "task":
        yield "schedule", f", {trial['schedule']}"
    if is_batche:
        yield "learned_contexts", ""
    if trial["output_contexts"]:
        yield "output_contexts", "" if is_batche else ", outputs too"
    if trial["channel_contexts"]:
        yield "channel_contexts", ", by channel"
    if trial["heads"] == "per-task":
        yield "heads", ", head per task"
    if trial["trunk"] == "per-task":
        yield "trunk", ", net per task"
    elif trial["trunk"] != ("first-task" if is_batche else "shared"):
        yield "trunk", f", trunk {trial['trunk']}"
    elif is_batche:
        yield "trunk", ""


def _of_inference(trial: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """`, entropy-one-shot, of 128 +90`: what follows where the task is inferred, or outputs are superfluous."""
    if trial["task_inference"] != "given":
        yield "task_inference", f", {trial['task_inference']}"
    if trial["inference_lr"] is not None:
        yield "inference_steps", f", {trial['inference_steps']:g}"
        yield "inference_lr", f" x {trial['inference_lr']:g}"
    if trial["inference_layers"] != "all":
        yield "inference_layers", f", {trial['inference_layers']} layer"
    if trial["inference_images"] != 1:
        yield "inference_images", f", of {trial['inference_images']}"
    if trial["shared_labels"]:
        yield "shared_labels", ", shared labels" if trial["new_mask_eps"] is None else ""
    if trial["new_mask_eps"] is not None:
        yield "new_mask_eps", f", no task told, eps {trial['new_mask_eps']:g}"
    if trial["superfluous"]:
        yield "superfluous", f" +{trial['superfluous']}"

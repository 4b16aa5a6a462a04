"""The columns `curve`, `curve_of` and `experiment` of trials whose stores are older than these columns.

This module is frozen: add nothing. Until November 2026 a store had a trial's settings alone. Analysis made the labels
of curves from the settings, by the rules and defaults that stand here. They are kept because such stores are still
read. Later methods and settings need no rules here: stores that have them have the three columns too.

`described` makes the three columns from settings; `completed` also fills in the settings that a store lacks.
"""

import json
from collections.abc import Mapping
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
# These columns all stores have.
OLDEST: Final = (
    *("dataset", "stream", "permute_first", "model", "depth", "steps_per_task", "batch_size", "optimiser", "momentum"),
    *("eval_tasks", "eval_samples"),
)
MOMENTS: Final = ("eval_every", "eval_from")  # they say when a trial was measured, and belong to no experiment
WHOLE: Final = {"classes_per_task", "inference_steps", "lr_decay_steps", "eval_samples"}  # whole numbers or null
WITH_MASKS: Final = ("supsup", "hopsupsup")  # their `context` is always none

RENAMED_SCHEDULES: Final = {"random": "redrawn", "cosine": "blend"}  # the old name: the name today
# Here a task, or its contexts in use, depend on the number of tasks: a trial of fewer tasks is not the beginning of a
# longer one. Later stores have this in `nested_tasks` and `nested_contexts`.
WHOLE_STREAMS: Final = {"rotating"}
WHOLE_SCHEDULES: Final = {"local-mix", "local-product", "redrawn", "blend"}

# Labels of a task, unless it has classes of its own. Later stores have `num_labels`.
CLASSES: Final = {
    "digits": 10, "mnist": 10, "fashion-mnist": 10, "svhn": 10, "cifar-10": 10, "cifar-100": 100, "imagenet": 1000,
}  # fmt: skip

DESCRIBED: Final = ["curve", "curve_of", "experiment"]

# What a label says of a setting that differs from its default.
OF_MASKS: Final = {
    "frozen_weights": ", {}",
    "masks": ", {}",
    "sparsity": " {:g}",
    "transfer": ", {} scores",
    "heads": ", head per task",
}
OF_HOPFIELD: Final = {"recovery_order": ", {}", "recovery_lr": ", lr {:g}", "recovery_gamma": ", gamma {:g}"}
OF_CONTEXTS: Final = {
    "contexts_per_task": " x{}",
    "schedule": ", {}",
    "output_contexts": ", outputs too",
    "channel_contexts": ", by channel",
    "heads": ", head per task",
    "trunk": ", trunk {}",
}
OF_INFERENCE: Final = {
    "task_inference": ", {}",
    "inference_steps": ", {:g}",
    "inference_lr": " x {:g}",
    "inference_layers": ", {} layer",
    "inference_images": ", of {}",
    "shared_labels": ", shared labels",
    "new_mask_eps": ", no task told, eps {:g}",
    "superfluous": " +{}",
}


def completed(trials: pd.DataFrame) -> pd.DataFrame:
    """The trials with all settings of that time and the columns DESCRIBED; what a store lacks is made here."""
    there = [*DEFAULTS, *MOMENTS, "method", "nested_tasks", "nested_contexts", "num_labels", *DESCRIBED]
    trials = trials.reindex(columns=[*trials, *(column for column in there if column not in trials)])
    old = trials["curve"].isna()
    trials["schedule"] = trials["schedule"].where(~old, trials["schedule"].replace(RENAMED_SCHEDULES))
    trials = trials.assign(**{column: _filled(trials[column], default) for column, default in DEFAULTS.items()})
    for column, by_name in (
        ("nested_tasks", ~trials["stream"].isin(WHOLE_STREAMS)),
        ("nested_contexts", ~trials["schedule"].isin(WHOLE_SCHEDULES)),
    ):
        trials[column] = trials[column].astype(object).where(trials[column].notna(), by_name).astype(bool)
    trials["num_labels"] = trials["num_labels"].astype(float).fillna(_num_labels(trials))
    made = described(trials[old])
    return trials.assign(**{name: trials[name].astype(object).fillna(made[name]) for name in DESCRIBED})


def _num_labels(trials: pd.DataFrame) -> "pd.Series[Any]":
    classes = trials["dataset"].astype(object).map(CLASSES).where(trials["stream"] != "incremental", 10)
    of_task = trials["classes_per_task"].where(~trials["keep_labels"].astype(bool))
    return of_task.fillna(classes).astype(float)


def _filled(values: "pd.Series[Any]", default: Any) -> "pd.Series[Any]":  # noqa: ANN401
    return values if default is None else values.astype(object).where(values.notna(), default).astype(type(default))


def described(trials: pd.DataFrame) -> pd.DataFrame:
    """The columns DESCRIBED, from a trial's settings.

    Args:
        trials: columns `method` and DEFAULTS, without nulls but where the default is None; of retrieval also RETRIEVAL.
    """
    names = [name for name in ("method", *DEFAULTS, *RETRIEVAL) if name in trials]
    number = trials.groupby(names, dropna=False, sort=False).ngroup()  # most trials differ in seed or lr alone
    rows = trials.loc[~number.duplicated(), names].astype(object)
    rows = rows.where(rows.notna(), None)
    texts = [_described(dict(zip(names, row, strict=True))) for row in rows.itertuples(index=False, name=None)]
    found = pd.DataFrame(texts, columns=DESCRIBED, dtype=object)
    return found.iloc[number.to_numpy()].set_axis(trials.index)


def _described(trial: Mapping[str, Any]) -> tuple[str, str, str]:
    pieces = _pieces(trial)
    if trial["method"] == "retrieval":
        defaults = RETRIEVAL
    else:
        said = {*pieces, *(("context",) if trial["method"] in WITH_MASKS else ())}
        defaults = {name: default for name, default in DEFAULTS.items() if name not in said}
    other = {name: _plain(name, trial[name], default) for name, default in defaults.items() if trial[name] != default}
    return "".join(pieces.values()), _json(pieces), _json(dict(sorted(other.items())))


def _plain(name: str, value: Any, default: Any) -> Any:  # noqa: ANN401
    """The value in the setting's type. A column of whole numbers and nulls is read as floats."""
    return type(default)(value) if default is not None else int(value) if name in WHOLE else float(value)


def _json(content: Mapping[str, Any]) -> str:
    return json.dumps(content, separators=(",", ":"))


def _pieces(trial: Mapping[str, Any]) -> dict[str, str]:
    """The label's pieces by setting, in order. A piece that another one implies is empty."""
    method = trial["method"]
    if method == "retrieval":
        return {"context": trial["context"]}
    if method == "supsup":
        first = {"method": method, **_unusual(trial, OF_MASKS)}
    elif method == "hopsupsup":
        first = {"method": method, "hopfield_rule": f", {trial['hopfield_rule']}", **_unusual(trial, OF_HOPFIELD)}
    else:
        first = _of_contexts(trial)
    inference = _unusual(trial, OF_INFERENCE)
    if "new_mask_eps" in inference and "shared_labels" in inference:
        inference["shared_labels"] = ""
    return first | inference


def _of_contexts(trial: Mapping[str, Any]) -> dict[str, str]:
    """The pieces of a method with contexts. BatchE's is `batche`: trained, of inputs and outputs, in a frozen trunk."""
    pieces = {"context": trial["context"], **_unusual(trial, OF_CONTEXTS)}
    if trial["trunk"] == "per-task":
        pieces["trunk"] = ", net per task"
    if not (trial["output_contexts"] and trial["learned_contexts"]):
        return pieces
    pieces["context"] = "batche" if trial["context"] == "binary" else f"batche {trial['context']}"
    pieces["output_contexts"] = ""
    if trial["trunk"] in ("shared", "first-task"):
        pieces["trunk"] = "" if trial["trunk"] == "first-task" else ", trunk shared"
    return pieces | {"learned_contexts": ""}


def _unusual(trial: Mapping[str, Any], forms: Mapping[str, str]) -> dict[str, str]:
    """The pieces of the settings that differ from their defaults."""
    return {name: form.format(trial[name]) for name, form in forms.items() if trial[name] != DEFAULTS[name]}

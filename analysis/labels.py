"""What a trial's curve is called: its context, and what else of its contexts is not as usual."""

from collections.abc import Collection
from typing import Any, Final

import pandas as pd

CONTEXT_SETTINGS: Final = ["context", "contexts_per_task", "schedule", "heads"]
TRUNK_SETTINGS: Final = ["trunk", "output_contexts", "channel_contexts", "learned_contexts"]
HOPFIELD_SETTINGS: Final = ["hopfield_rule", "recovery_order", "recovery_lr", "recovery_gamma"]
MASK_SETTINGS: Final = ["frozen_weights", "masks", "sparsity", "transfer"]
INFERENCE_SETTINGS: Final = [
    "superfluous",
    "task_inference",
    "inference_images",
    "inference_layers",
    "inference_lr",
    "inference_steps",
    "shared_labels",
    "new_mask_eps",
]
LABEL_SETTINGS: Final = [
    "method",
    *CONTEXT_SETTINGS,
    *TRUNK_SETTINGS,
    *MASK_SETTINGS,
    *INFERENCE_SETTINGS,
    *HOPFIELD_SETTINGS,
]

# What a label that is not to speak of a setting is made from.
UNSAID: Final[dict[str, Any]] = {
    "contexts_per_task": 1,
    "schedule": "task",
    "heads": "shared",
    "trunk": None,
    "output_contexts": False,
    "channel_contexts": False,
    "learned_contexts": False,
    "frozen_weights": "signed-constant",
    "masks": None,
    "sparsity": None,
    "transfer": "random",
    "superfluous": 0,
    "task_inference": "given",
    "inference_images": 1,
    "inference_layers": "all",
    "inference_lr": None,
    "inference_steps": None,
    "shared_labels": False,
    "new_mask_eps": None,
    "hopfield_rule": None,
    "recovery_order": "together",
    "recovery_lr": 500.0,
    "recovery_gamma": 1.5e-3,
}

# Where a task depends on how many there are, or the contexts in use do, trials of fewer tasks are not the beginning.
# A trial says so of itself (`nested_tasks`, `nested_contexts`); of trials that are older than these columns:
WHOLE_STREAMS: Final = {"rotating"}
WHOLE_SCHEDULES: Final = {"local-mix", "local-product", "redrawn", "blend"}

RENAMED_SCHEDULES: Final = {"random": "redrawn", "cosine": "blend"}  # as those trials had them, and as they are now


def curve_labels(trials: pd.DataFrame) -> list[str]:
    """A label for each row: `complex`, `complex x100, local-mix`, `none, head per task`, `batche`.

    Args:
        trials: columns LABEL_SETTINGS; two rows with the same label have the same of them, but for contexts
            of inputs alone, of which it does not say whether they were trained.
    """
    # Published values say trunk, masks and inference in their contexts' names.
    settings = [*CONTEXT_SETTINGS, *(TRUNK_SETTINGS if "trunk" in trials else [])]
    labels = [_label(*row) for row in trials[settings].itertuples(index=False, name=None)]
    if "method" not in trials:
        return labels
    masks = trials[[*MASK_SETTINGS, "heads"]].itertuples(index=False, name=None)
    inferences = trials[INFERENCE_SETTINGS].itertuples(index=False, name=None)
    hopfields = trials[HOPFIELD_SETTINGS].itertuples(index=False, name=None)
    labels = [
        _mask_label(*mask) if method == "supsup" else _hopfield_label(*hopfield) if method == "hopsupsup" else label
        for method, label, mask, hopfield in zip(trials["method"], labels, masks, hopfields, strict=True)
    ]
    return [label + _inference_label(*inference) for label, inference in zip(labels, inferences, strict=True)]


def labels_without(trials: pd.DataFrame, unsaid: Collection[str]) -> list[str]:
    """The labels, but for what they say of these settings; whole where trials could then not be told apart."""
    whole = trials.assign(whole=curve_labels(trials))
    quiet = trials.assign(**{setting: UNSAID[setting] for setting in unsaid if setting in UNSAID})
    whole["quiet"] = curve_labels(quiet)
    alike = whole.groupby(["quiet", *unsaid], dropna=False)["whole"].transform("nunique")
    return whole["quiet"].where(alike == 1, whole["whole"]).tolist()


def _mask_label(frozen_weights: str, masks: str | None, sparsity: float, transfer: str, heads: str) -> str:
    """`supsup`, `supsup, top-k 8`: threshold masks of signed constants unless it says otherwise."""
    parts = [
        "supsup",
        *([frozen_weights] if frozen_weights != "signed-constant" else []),
        *([f"{masks} {sparsity:g}" if pd.notna(sparsity) else masks] if masks and masks != "threshold" else []),
        *([f"{transfer} scores"] if transfer != "random" else []),
        *(["head per task"] if heads == "per-task" else []),
    ]
    return ", ".join(parts)


def _hopfield_label(hopfield_rule: str | None, recovery_order: str, recovery_lr: float, recovery_gamma: float) -> str:
    """`hopsupsup, storkey`, `hopsupsup, hebb, layer-by-layer`: the paper's recovery unless it says otherwise."""
    parts = [
        f"hopsupsup, {hopfield_rule}" if hopfield_rule else "hopsupsup",
        *([recovery_order] if recovery_order != "together" else []),
        *([f"lr {recovery_lr:g}"] if recovery_lr != 500 else []),
        *([f"gamma {recovery_gamma:g}"] if recovery_gamma != 1.5e-3 else []),
    ]
    return ", ".join(parts)


def _inference_label(
    superfluous: int,
    task_inference: str,
    inference_images: int,
    inference_layers: str,
    inference_lr: float,
    inference_steps: float,
    shared_labels: bool,
    new_mask_eps: float,
) -> str:
    """`, entropy-one-shot, of 128 +90`: what follows where the task is inferred, or outputs are superfluous."""
    parts = [
        *([task_inference] if task_inference != "given" else []),
        *([f"{inference_steps:g} x {inference_lr:g}"] if pd.notna(inference_lr) else []),
        *([f"{inference_layers} layer"] if inference_layers != "all" else []),
        *([f"of {inference_images}"] if inference_images != 1 else []),
        *(["shared labels"] if shared_labels and pd.isna(new_mask_eps) else []),  # which the next one implies
        *([f"no task told, eps {new_mask_eps:g}"] if pd.notna(new_mask_eps) else []),
    ]
    return "".join(f", {part}" for part in parts) + (f" +{superfluous}" if superfluous else "")


def _label(
    context: str,
    contexts_per_task: int,
    schedule: str,
    heads: str,
    trunk: str | None = "shared",
    output_contexts: bool = False,
    channel_contexts: bool = False,
    learned_contexts: bool = False,
) -> str:
    is_batche = output_contexts and learned_contexts
    label = ("batche" if context == "binary" else f"batche {context}") if is_batche else context
    parts = [
        label if contexts_per_task == 1 else f"{label} x{contexts_per_task}",
        *([schedule] if schedule != "task" else []),
        *(["outputs too"] if output_contexts and not is_batche else []),
        *(["by channel"] if channel_contexts else []),
        *(["head per task"] if heads == "per-task" else []),
        *(["net per task"] if trunk == "per-task" else []),
        *([f"trunk {trunk}"] if trunk not in (None, "per-task", "first-task" if is_batche else "shared") else []),
    ]
    return ", ".join(parts)


def own_recipes(trials: pd.DataFrame) -> pd.Series:
    """Which trials are of paper B's rivals, each of which it trains in a way of its own: masks, or another trunk."""
    return trials["method"].isin(("supsup", "hopsupsup")) | (trials["trunk"] != "shared") | trials["output_contexts"]


def with_nesting(trials: pd.DataFrame) -> pd.DataFrame:
    """The trials with `schedule` by today's names, and `nested_tasks` and `nested_contexts` where they do not say."""
    trials = trials.assign(schedule=trials["schedule"].replace(RENAMED_SCHEDULES))
    known = {"nested_tasks": ("stream", WHOLE_STREAMS), "nested_contexts": ("schedule", WHOLE_SCHEDULES)}
    for column, (setting, whole) in known.items():
        by_name = ~trials[setting].isin(whole)
        said = trials.get(column, by_name)
        trials[column] = said.where(said.notna(), by_name).astype(bool)
    return trials


def whole_stream_tasks(trials: pd.DataFrame) -> pd.Series:
    """The number of tasks, where a trial as a whole depends on it, as its number of masks may; else 0."""
    whole = ~trials["nested_tasks"] | (trials["num_cycles"] > 1) | trials["new_mask_eps"].notna()
    return trials["num_tasks"].where(whole, 0)


def tell_numbers_of_tasks_apart(trials: pd.DataFrame) -> pd.Series:
    """The labels, with the number of tasks where a schedule depends on it and the trials have several."""
    whole = ~trials["nested_contexts"] & (trials["stream_tasks"] == 0)
    if trials.loc[whole, "num_tasks"].nunique() < 2:
        return trials["context"]
    return trials["context"].where(~whole, trials["context"] + ", " + trials["num_tasks"].astype(str) + " tasks")

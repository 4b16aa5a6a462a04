"""What a trial's curve is called: its context, and what else of its contexts is not as usual."""

from typing import Final

import pandas as pd

CONTEXT_SETTINGS: Final = ["context", "contexts_per_task", "schedule", "heads"]
MASK_SETTINGS: Final = ["frozen_weights", "masks", "sparsity"]
INFERENCE_SETTINGS: Final = [
    "superfluous",
    "task_inference",
    "inference_images",
    "inference_layers",
    "inference_lr",
    "inference_steps",
    "shared_labels",
]
LABEL_SETTINGS: Final = ["method", *CONTEXT_SETTINGS, *MASK_SETTINGS, *INFERENCE_SETTINGS]

# Where a task depends on how many there are, or the contexts in use do: trials of fewer tasks are not the beginning.
WHOLE_STREAMS: Final = {"rotating"}
WHOLE_SCHEDULES: Final = {"local-mix", "local-product", "random", "cosine"}


def curve_labels(trials: pd.DataFrame) -> list[str]:
    """A label for each row: `complex`, `complex x100, local-mix`, `none, head per task`.

    Args:
        trials: columns LABEL_SETTINGS; two rows with the same label have the same of them.
    """
    labels = [_label(*row) for row in trials[CONTEXT_SETTINGS].itertuples(index=False, name=None)]
    if "method" not in trials:  # published values have no masks so far, and their tasks are given
        return labels
    masks = trials[MASK_SETTINGS].itertuples(index=False, name=None)
    inferences = trials[INFERENCE_SETTINGS].itertuples(index=False, name=None)
    rows = zip(trials["method"], labels, masks, inferences, strict=True)
    return [
        (_mask_label(*mask) if method == "supsup" else label) + _inference_label(*inference)
        for method, label, mask, inference in rows
    ]


def _mask_label(frozen_weights: str, masks: str, sparsity: float) -> str:
    """`supsup`, `supsup, top-k 8`: threshold masks of signed constants unless it says otherwise."""
    parts = [
        "supsup",
        *([frozen_weights] if frozen_weights != "signed-constant" else []),
        *([f"{masks} {sparsity:g}"] if masks != "threshold" else []),
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
) -> str:
    """`, entropy-one-shot, of 128 +90`: what follows where the task is inferred, or outputs are superfluous."""
    parts = [
        *([task_inference] if task_inference != "given" else []),
        *([f"{inference_steps:g} x {inference_lr:g}"] if pd.notna(inference_lr) else []),
        *([f"{inference_layers} layer"] if inference_layers != "all" else []),
        *([f"of {inference_images}"] if inference_images != 1 else []),
        *(["shared labels"] if shared_labels else []),
    ]
    return "".join(f", {part}" for part in parts) + (f" +{superfluous}" if superfluous else "")


def _label(context: str, contexts_per_task: int, schedule: str, heads: str) -> str:
    label = context if contexts_per_task == 1 else f"{context} x{contexts_per_task}"
    if schedule != "task":
        label += f", {schedule}"
    return label if heads == "shared" else f"{label}, head {heads.replace('-', ' ')}"


def whole_stream_tasks(trials: pd.DataFrame) -> pd.Series:
    """The number of tasks, where the stream as a whole depends on it; else 0."""
    whole = trials["stream"].isin(WHOLE_STREAMS) | (trials["num_cycles"] > 1)
    return trials["num_tasks"].where(whole, 0)


def tell_numbers_of_tasks_apart(trials: pd.DataFrame) -> pd.Series:
    """The labels, with the number of tasks where a schedule depends on it and the trials have several."""
    whole = trials["schedule"].isin(WHOLE_SCHEDULES) & (trials["stream_tasks"] == 0)
    if trials.loc[whole, "num_tasks"].nunique() < 2:
        return trials["context"]
    return trials["context"].where(~whole, trials["context"] + ", " + trials["num_tasks"].astype(str) + " tasks")

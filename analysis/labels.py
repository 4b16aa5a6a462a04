"""What a trial's curve is called: its context, and what else of its contexts is not as usual."""

from typing import Final

import pandas as pd

CONTEXT_SETTINGS: Final = ["context", "contexts_per_task", "schedule", "heads"]
TRUNK_SETTINGS: Final = ["trunk", "output_contexts", "learned_contexts"]
MASK_SETTINGS: Final = [
    "frozen_weights",
    "masks",
    "sparsity",
    "transfer",
    "superfluous",
    "task_inference",
    "inference_images",
    "new_mask_eps",
]
LABEL_SETTINGS: Final = ["method", *CONTEXT_SETTINGS, *TRUNK_SETTINGS, *MASK_SETTINGS]

# Where a task depends on how many there are, or the contexts in use do: trials of fewer tasks are not the beginning.
WHOLE_STREAMS: Final = {"rotating"}
WHOLE_SCHEDULES: Final = {"local-mix", "local-product", "random", "cosine"}


def curve_labels(trials: pd.DataFrame) -> list[str]:
    """A label for each row: `complex`, `complex x100, local-mix`, `none, head per task`, `batche`.

    Args:
        trials: columns LABEL_SETTINGS; two rows with the same label have the same of them, but for contexts
            of inputs alone, of which it does not say whether they were trained.
    """
    # Published values say trunk and masks in their contexts' names.
    settings = [*CONTEXT_SETTINGS, *(TRUNK_SETTINGS if "trunk" in trials else [])]
    labels = [_label(*row) for row in trials[settings].itertuples(index=False, name=None)]
    masked: list[bool] = list(trials["method"] == "supsup") if "method" in trials else []
    if any(masked):
        rows = trials[MASK_SETTINGS].itertuples(index=False, name=None)
        return [_mask_label(*row) if m else label for row, m, label in zip(rows, masked, labels, strict=True)]
    return labels


def _mask_label(
    frozen_weights: str,
    masks: str,
    sparsity: float,
    transfer: str,
    superfluous: int,
    task_inference: str,
    inference_images: int,
    new_mask_eps: float | None,
) -> str:
    """`supsup`, `supsup, entropy-one-shot +90`: threshold masks of signed constants unless it says otherwise."""
    parts = [
        "supsup",
        *([frozen_weights] if frozen_weights != "signed-constant" else []),
        *([f"{masks} {sparsity:g}"] if masks != "threshold" else []),
        *([f"{transfer} scores"] if transfer != "random" else []),
        *([task_inference] if task_inference != "given" else []),
        *([f"of {inference_images}"] if inference_images != 1 else []),
        *([f"no task told, eps {new_mask_eps:g}"] if pd.notna(new_mask_eps) else []),
    ]
    return ", ".join(parts) + (f" +{superfluous}" if superfluous else "")


def _label(
    context: str,
    contexts_per_task: int,
    schedule: str,
    heads: str,
    trunk: str = "shared",
    output_contexts: bool = False,
    learned_contexts: bool = False,
) -> str:
    is_batche = output_contexts and learned_contexts
    label = ("batche" if context == "binary" else f"batche {context}") if is_batche else context
    parts = [
        label if contexts_per_task == 1 else f"{label} x{contexts_per_task}",
        *([schedule] if schedule != "task" else []),
        *(["outputs too"] if output_contexts and not is_batche else []),
        *(["head per task"] if heads == "per-task" else []),
        *(["net per task"] if trunk == "per-task" else []),
        *([f"trunk {trunk}"] if trunk not in ("per-task", "first-task" if is_batche else "shared") else []),
    ]
    return ", ".join(parts)


def own_recipes(trials: pd.DataFrame) -> pd.Series:
    """Which trials are of paper B's rivals, each of which it trains in a way of its own: masks, or another trunk."""
    return (trials["method"] == "supsup") | (trials["trunk"] != "shared") | trials["output_contexts"]


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

"""The trial store's columns and their types: a contract with everything that reads its files."""

from typing import Final

import pyarrow as pa

TRIALS: Final = pa.schema(
    [
        ("trial_id", pa.string()),
        ("study", pa.string()),
        ("status", pa.string()),  # ok | diverged | failed
        ("error", pa.string()),
        ("method", pa.string()),
        ("frozen_weights", pa.string()),  # of supsup, as the next three; null or the default elsewhere
        ("masks", pa.string()),
        ("sparsity", pa.float64()),
        ("transfer", pa.string()),
        ("superfluous", pa.int32()),
        ("task_inference", pa.string()),
        ("inference_images", pa.int32()),
        ("new_mask_eps", pa.float64()),  # null where training is told the task
        ("steps_per_decision", pa.int32()),
        ("trunk", pa.string()),
        ("inference_layers", pa.string()),
        ("inference_lr", pa.float64()),  # null but for gradient descent, as the next
        ("inference_steps", pa.int32()),
        ("shared_labels", pa.bool_()),
        ("hopfield_rule", pa.string()),  # of hopsupsup, as the next three
        ("recovery_order", pa.string()),
        ("recovery_lr", pa.float64()),
        ("recovery_gamma", pa.float64()),
        ("context", pa.string()),
        ("stream", pa.string()),
        ("dataset", pa.string()),
        ("normalisation", pa.string()),
        ("model", pa.string()),
        ("width", pa.int32()),
        ("depth", pa.int32()),
        ("num_tasks", pa.int32()),
        ("lr", pa.float64()),
        ("later_lr", pa.float64()),  # null: lr
        ("lr_schedule", pa.string()),
        ("warmup_steps", pa.int32()),
        ("lr_decay_steps", pa.int32()),  # null but for multistep
        ("lr_decay", pa.float64()),
        ("seed", pa.int64()),
        ("steps_per_task", pa.int32()),
        ("batch_size", pa.int32()),
        ("optimiser", pa.string()),
        ("momentum", pa.float64()),
        ("weight_decay", pa.float64()),
        ("permute_first", pa.bool_()),
        ("classes_per_task", pa.int32()),  # null but for split streams
        ("shuffle_classes", pa.bool_()),
        ("keep_labels", pa.bool_()),
        ("interpolation", pa.string()),  # of turned streams; the default elsewhere
        ("augmentation", pa.string()),
        ("num_cycles", pa.int32()),
        ("heads", pa.string()),
        ("norm", pa.string()),
        ("initial_weights", pa.string()),
        ("contexts_per_task", pa.int32()),
        ("schedule", pa.string()),
        ("learned_contexts", pa.bool_()),
        ("output_contexts", pa.bool_()),
        ("channel_contexts", pa.bool_()),
        ("precision", pa.string()),
        ("eval_tasks", pa.string()),
        ("eval_samples", pa.int32()),  # null: the whole test set
        ("eval_every", pa.int32()),  # null: measured after tasks alone
        ("eval_from", pa.int32()),  # null: eval_every
        ("test_batch_size", pa.int32()),
        ("milestones", pa.list_(pa.int32())),
        ("num_draws", pa.int32()),  # of retrieval, as the next two
        ("alignment", pa.float64()),
        ("support", pa.float64()),
        ("nested_tasks", pa.bool_()),  # whether each task is the same whatever their number; null of retrieval
        ("nested_contexts", pa.bool_()),  # and whether its contexts in use are
        ("num_params", pa.int64()),  # real numbers that are trained
        ("context_bytes_per_task", pa.int64()),
        ("total_bytes", pa.int64()),  # weights, and the contexts of all tasks
        ("csc_bytes_per_task", pa.float64()),  # of masks as paper B counts them: 16-bit sparse columns; null elsewhere
        ("num_masks", pa.int32()),  # where training is not told the task: masks in use at the end
        ("purity", pa.float64()),  # and the share of training in which a mask met the task that it met most
        ("seconds", pa.float64()),  # this trial's share of its pack's time
        ("steps_per_second", pa.float64()),  # its optimiser steps over `seconds`
        ("device", pa.string()),
        ("final_accuracy", pa.float64()),  # mean of R[K-1, :], a fraction
    ]
)
EVALS: Final = pa.schema(
    [
        ("trial_id", pa.string()),
        ("tasks_seen", pa.int32()),  # 1..K; of a stream with cycles 1..K * num_cycles
        ("task", pa.int32()),  # 0..K-1
        ("accuracy", pa.float64()),  # a fraction
        ("loss", pa.float64()),  # nats
        ("num_samples", pa.int32()),
        ("inferred", pa.float64()),  # share of batches whose task was found; null where it was given
        ("mask_agreement", pa.float64()),  # share of a recovered mask's entries that are the task's own, else null
        ("step", pa.int64()),  # optimiser steps taken by then
    ]
)
CURVES: Final = pa.schema(
    [
        ("trial_id", pa.string()),
        ("step", pa.int64()),  # optimiser steps taken by then, of the whole trial
        ("task", pa.int32()),  # 0..K-1
        ("accuracy", pa.float64()),  # a fraction
        ("loss", pa.float64()),  # nats
        ("num_samples", pa.int32()),
        ("inferred", pa.float64()),  # share of batches whose task was found; null where it was given
    ]
)
CROSSTALK: Final = pa.schema(
    [
        ("trial_id", pa.string()),
        ("num_models", pa.int32()),  # 2, 4, ... K stored together
        ("mean", pa.float64()),  # of the crosstalk, over its root mean square
        ("second_moment", pa.float64()),  # of the crosstalk, over E |w|^2 |x|^2; likewise the next two
        ("predicted", pa.float64()),  # by the paper's Proposition 2; NaN where it has none
        ("distortion", pa.float64()),  # of the retrieved model itself
        ("num_samples", pa.int64()),
    ]
)
MEASURED: Final = {"evals": EVALS, "curves": CURVES, "crosstalk": CROSSTALK}

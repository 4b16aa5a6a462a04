"""What a trial costs: arithmetic and memory, known before anything runs.

Matrix products are counted as multiplications for one sample. Memory is what a device has to hold,
in bytes, with everything that `PackTraining` keeps in float32 (and batch indices in int64).
"""

from itertools import pairwise
from math import prod
from typing import TYPE_CHECKING

from psp_core.contexts import CONTEXTS
from psp_core.datasets import DATASETS
from psp_core.evaluation import CHUNK_BYTES
from psp_core.optimisers import OPTIMISERS

if TYPE_CHECKING:
    from psp_core.trial import TrialConfig


def layer_sizes(trial: "TrialConfig") -> list[int]:
    """Units of the input, of every hidden layer and of the output."""
    sizes = DATASETS[trial.dataset]
    return [sizes.num_inputs, *[trial.width] * trial.depth, sizes.num_classes]


def num_params(trial: "TrialConfig") -> int:
    """Real numbers that are trained."""
    parts = 2 if CONTEXTS[trial.context].is_complex else 1
    return sum(parts * i * o + o for i, o in pairwise(layer_sizes(trial)))


def num_activations(trial: "TrialConfig") -> int:
    """Real numbers that one sample has in all layers, the input included."""
    first, *rest = layer_sizes(trial)
    return first + (2 if CONTEXTS[trial.context].is_complex else 1) * sum(rest)


def step_products(trial: "TrialConfig") -> int:
    """Multiplications of one sample in a training step: forwards, and backwards to weights and inputs."""
    context, sizes = CONTEXTS[trial.context], layer_sizes(trial)
    weights = sum((3 if index else 2) * product for index, product in enumerate(_real_products(trial)))
    return weights + sum((2 if index else 1) * context.num_products(size) for index, size in enumerate(sizes[:-1]))


def retrieved_products(trial: "TrialConfig") -> int:
    """Multiplications of one sample through a retrieved network."""
    return sum(_real_products(trial))


def num_tests(trial: "TrialConfig") -> int:
    """Test samples that are measured in all, over tasks and boundaries."""
    whole = DATASETS[trial.dataset].num_test
    some = trial.eval_samples or whole
    last = trial.num_tasks
    usual = last * (last + 1) // 2 if trial.eval_tasks == "all" else 2 * last - 1  # (boundary, task) pairs
    instead = [(seen, seen if trial.eval_tasks == "all" else min(seen, 2)) for seen in (*trial.milestones, last)]
    return some * usual + sum(whole * every - some * few for every, few in instead)


def _real_products(trial: "TrialConfig") -> list[int]:
    """Each layer's multiplications; a complex layer has four real products, two if an end of it is real."""
    pairs = list(pairwise(layer_sizes(trial)))
    if not CONTEXTS[trial.context].is_complex:
        return [i * o for i, o in pairs]
    ends = (0, len(pairs) - 1)
    return [(2 if index in ends else 4) * i * o for index, (i, o) in enumerate(pairs)]


def member_bytes(trial: "TrialConfig") -> int:
    """What one more member with a seed of its own needs.

    Weights, shared and retrieved; gradients; the optimiser's state; contexts; batches.
    """
    context, sizes = CONTEXTS[trial.context], layer_sizes(trial)
    contexts = sum(prod(context.shape(size)) for size in sizes[:-1])
    state = len(OPTIMISERS[trial.optimiser].used_state([trial.momentum]))
    kept = contexts * (trial.num_tasks + 1)
    if trial.learned_contexts:  # their gradients, twice on the way, and state; the weights' gradients on the way
        kept += contexts * (2 + state) + num_params(trial)
    # As the backward pass begins there are of each activation: input or output, bound, two on their way.
    floats = num_params(trial) * (3 + state) + kept + 4 * trial.batch_size * num_activations(trial)
    if context.is_complex:
        floats += 3 * 2 * sizes[0] * sizes[1]  # the first layer is bound, and its gradient unbound
    return 4 * floats + 8 * trial.steps_per_task * trial.batch_size


def shared_bytes(trial: "TrialConfig", device: str) -> int:
    """What a pack needs whatever its size: the data set, and the chunks that are measured at once."""
    data = DATASETS[trial.dataset]
    return (data.num_train + data.num_test) * (data.num_inputs + 8) + 6 * CHUNK_BYTES[device]

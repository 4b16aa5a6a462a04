"""What a trial costs: arithmetic and memory, known before anything runs.

Matrix products are counted as multiplications for one sample. Memory is what a device has to hold,
in bytes, with everything that `PackTraining` keeps in float32 (and batch indices in int64).
"""

from math import prod
from typing import TYPE_CHECKING

from psp_core.contexts import CONTEXTS
from psp_core.datasets import DATASETS
from psp_core.evaluation import CHUNK_BYTES
from psp_core.measuring import num_curve_points, usual_tasks
from psp_core.norms import BY_TASK
from psp_core.optimisers import OPTIMISERS

if TYPE_CHECKING:
    from psp_core.models import LayerSize
    from psp_core.trial import TrialConfig


def num_params(trial: "TrialConfig") -> int:
    """Real numbers that are trained, shared by all tasks."""
    return 0 if trial.trunk in ("random", "per-task") else trunk_size(trial)


def trunk_size(trial: "TrialConfig") -> int:
    """Real numbers of the layers that are not one task's, whatever trains them."""
    of_norms = 2 * _normed_channels(trial) if trial.norm == "affine" else 0
    return sum(_num_params(trial, layer) for layer in _shared_layers(trial)) + of_norms


def num_activations(trial: "TrialConfig") -> int:
    """Real numbers that one sample has in all layers, the input included."""
    of_layers = sum(layer.outputs * layer.positions for layer in trial.layers)
    return DATASETS[trial.dataset].num_inputs + _parts(trial) * of_layers


def step_products(trial: "TrialConfig") -> int:
    """Multiplications of one sample in a training step: forwards, and backwards to weights and inputs.

    A convolution's context meets its weights, once for a batch: a sample has its share of that.
    """
    weights = sum(_passes(trial, index) * product for index, product in enumerate(_real_products(trial)))
    bound = [
        (2 if index else 1) * _binding_products(trial, layer)
        for index, layer in enumerate(trial.layers)
        if layer.has_context and layer.positions == 1
    ]
    kernels = [
        2 * _binding_products(trial, layer) * layer.outputs // trial.batch_size
        for layer in trial.layers
        if layer.has_context and layer.positions > 1
    ]
    return weights + sum(bound) + sum(kernels)


def _binding_products(trial: "TrialConfig", layer: "LayerSize") -> int:
    """Multiplications that bind all inputs of one of its filters; contexts of channels bind each place alone."""
    size = trial.context_size(layer)
    return CONTEXTS[trial.context].num_products(size) * (layer.inputs // size)


def retrieved_products(trial: "TrialConfig") -> int:
    """Multiplications of one sample through a retrieved network."""
    return sum(_real_products(trial))


def measuring_products(trial: "TrialConfig") -> int:
    """Multiplications to measure one test sample; where masks are recovered, also those of a step there and back."""
    if trial.method != "hopsupsup":
        return retrieved_products(trial)
    descents = trial.depth if trial.recovery_order == "layer-by-layer" else 1
    return retrieved_products(trial) + descents * step_products(trial)


def num_tests(trial: "TrialConfig") -> int:
    """Test samples that are measured in all, over tasks and boundaries; of a split stream, about."""
    data = DATASETS[trial.dataset]
    whole = data.num_test * (trial.classes_per_task or trial.num_outputs) // data.num_classes
    some = min(trial.eval_samples or whole, whole)
    in_part, in_whole = _num_measured(trial)
    return some * in_part + whole * in_whole


def num_retrieved(trial: "TrialConfig") -> int:
    """How often a task's network is retrieved to be measured: (boundary, task) pairs, and points of curves."""
    return sum(_num_measured(trial))


def _num_measured(trial: "TrialConfig") -> tuple[int, int]:
    """How many (boundary, task) pairs are measured on some samples, and how many on the whole test set."""
    last, most = trial.num_visits, trial.num_tasks
    if trial.trunk == "per-task":  # each net once
        return 0, most + num_curve_points(trial)
    usual = {
        "all": most * (most + 1) // 2 + (last - most) * most,
        "ends": 2 * last - -(-last // most),
        "first": last,
    }[trial.eval_tasks]
    instead = [(min(seen, most), len(usual_tasks(trial, seen))) for seen in (*trial.milestones, last)]
    in_part = usual + num_curve_points(trial) - sum(few for _, few in instead)
    return in_part, sum(every for every, _ in instead)


def drawing_products(trial: "TrialConfig") -> int:
    """Multiplications to draw all contexts of a trial, where that takes more than filling them."""
    context = CONTEXTS[trial.context]
    return sum(
        context.drawing_products(trial.num_contexts, trial.context_size(layer))
        for layer in trial.layers
        if layer.has_context
    )


def retrieving_cost(trial: "TrialConfig") -> tuple[int, int]:
    """What it takes to retrieve one task's network: multiplications, and numbers of contexts that are read.

    Networks with convolutions are not retrieved, but bound as they run.
    """
    context, layers = CONTEXTS[trial.context], trial.layers
    if any(layer.positions > 1 for layer in layers):
        return 0, 0
    bound = [layer for layer in layers if layer.has_context]
    products = sum(context.num_products(layer.inputs) * layer.outputs for layer in bound)
    return products, sum(prod(context.shape(layer.inputs)) for layer in bound)


def _passes(trial: "TrialConfig", index: int) -> int:
    """How often a step multiplies by a layer's weights or for them: forwards, to its inputs, to its weights."""
    if trial.method == "hopsupsup":  # what is trained is no weights
        return 1 + (index > 0)
    is_frozen, is_last = trial.freezes_trunk(trial.num_tasks - 1), index == len(trial.layers) - 1
    to_inputs = trial.learned_contexts if is_frozen else index > 0
    to_weights = not is_frozen or (is_last and trial.heads == "per-task")
    return 1 + to_inputs + to_weights


def _real_products(trial: "TrialConfig") -> list[int]:
    """Each layer's multiplications; a complex layer has four real products, two if an end of it is real."""
    products = [layer.inputs * layer.outputs * layer.positions for layer in trial.layers]
    if not CONTEXTS[trial.context].is_complex:
        return products
    ends = (0, len(products) - 1)
    return [(2 if index in ends else 4) * product for index, product in enumerate(products)]


def _parts(trial: "TrialConfig") -> int:
    return 2 if CONTEXTS[trial.context].is_complex else 1


def _num_params(trial: "TrialConfig", layer: "LayerSize") -> int:
    return _parts(trial) * layer.inputs * layer.outputs + layer.has_bias * layer.outputs


def _shared_layers(trial: "TrialConfig") -> list["LayerSize"]:
    return trial.layers[:-1] if trial.heads == "per-task" else trial.layers


def member_bytes(trial: "TrialConfig") -> int:
    """What one more member with a seed of its own needs.

    Weights, shared and retrieved; gradients; the optimiser's state; contexts; batches, and their images where the
    device does not hold the data set.
    """
    of_method = {"supsup": _supermask_bytes, "hopsupsup": _hopfield_bytes}.get(trial.method, _network_bytes)
    return _image_bytes(trial) + of_method(trial)


def _image_bytes(trial: "TrialConfig") -> int:
    """The images of one task's batches, if the data set stays in its files: members of other seeds have others."""
    data = DATASETS[trial.dataset]
    if data.in_memory:
        return 0
    of_task = data.num_train * trial.num_outputs // data.num_classes
    return min(of_task, trial.steps_per_task * trial.batch_size) * (data.num_inputs + 8)


def _batch_bytes(trial: "TrialConfig") -> int:
    """The numbers of a task's samples, and what was drawn to augment each."""
    return (8 + 3 * (trial.augmentation != "none")) * trial.steps_per_task * trial.batch_size


def _network_bytes(trial: "TrialConfig") -> int:
    context, layers = CONTEXTS[trial.context], _shared_layers(trial)
    contexts = sum(
        prod(context.shape(trial.context_size(layer))) + layer.outputs * trial.output_contexts
        for layer in layers
        if layer.has_context
    )
    heads = _num_params(trial, trial.layers[-1]) if trial.heads == "per-task" else 0
    state = len(OPTIMISERS[trial.optimiser].used_state([trial.momentum]))
    rows = trial.num_contexts if trial.trains_all_contexts else trial.num_tasks * trial.rows_per_task
    floats = trunk_size(trial) * (3 + state) + contexts * (rows + 1) + heads * (rows + 1)
    if trial.norm in BY_TASK:  # a mean and a variance of each channel
        floats += 2 * _normed_channels(trial) * (rows + 1)
    learned = heads + (contexts if trial.learned_contexts else 0)
    if trial.trains_all_contexts:
        floats += contexts * rows * (3 + state) + trunk_size(trial)
    elif learned:  # their gradients, twice on the way, and state; the weights' gradients on the way
        kept = rows if trial.num_cycles > 1 else 0  # the state of what comes back
        floats += learned * (2 + state * (1 + kept)) + trunk_size(trial)
    # As the backward pass begins there are of each activation: input or output, bound, two on their way.
    floats += 4 * trial.batch_size * num_activations(trial)
    if context.is_complex:
        floats += 3 * 2 * layers[0].inputs * layers[0].outputs  # the first layer is bound, and its gradient unbound
    return 4 * floats + _batch_bytes(trial)


def _normed_channels(trial: "TrialConfig") -> int:
    return sum(layer.outputs for layer in trial.layers[:-1])


def _supermask_bytes(trial: "TrialConfig") -> int:
    """Weights: frozen, masked, retrieved; scores; gradients of both; state; masks as bits, the scores kept; heads."""
    weights = sum(layer.inputs * layer.outputs for layer in _shared_layers(trial))
    state = len(OPTIMISERS[trial.optimiser].used_state([trial.momentum]))
    kept = trial.num_tasks if trial.new_mask_eps is not None else int(trial.transfer != "random")
    floats = weights * (6 + state + kept) + 4 * trial.batch_size * num_activations(trial)
    if trial.heads == "per-task":  # of all tasks; and of the current one with its gradients, twice, and state
        floats += _num_params(trial, trial.layers[-1]) * (trial.num_tasks + 4 + state)
    return 4 * floats + trial.num_tasks * weights // 8 + _batch_bytes(trial)


def _hopfield_bytes(trial: "TrialConfig") -> int:
    """Frozen weights; Hopfield networks, and what storing a mask makes beside the widest; scores and state; batches."""
    weights = sum(layer.inputs * layer.outputs for layer in trial.layers)
    widths = [layer.outputs for layer in trial.layers[:-1]]
    floats = weights + sum(width**2 for width in widths) + 4 * max(widths) ** 2 + 10 * sum(widths)
    floats += 6 * trial.batch_size * num_activations(trial)
    return 4 * floats + trial.num_tasks * sum(widths) // 8 + _batch_bytes(trial)


def shared_bytes(trial: "TrialConfig", device: str) -> int:
    """What a pack needs whatever its size: the data set, and the chunks that are measured at once.

    Of a data set whose images stay in files, the labels.
    """
    data = DATASETS[trial.dataset]
    of_sample = 8 + (data.num_inputs if data.in_memory else 0)
    return (data.num_train + data.num_test) * of_sample + 6 * CHUNK_BYTES[device]

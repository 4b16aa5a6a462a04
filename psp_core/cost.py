"""What a trial costs: arithmetic and memory, known before anything runs; and what methods count them of.

Matrix products are counted as multiplications for one sample. Memory is what a device has to hold,
in bytes, with everything that training keeps in float32 (and batch indices in int64).
"""

from collections.abc import Sequence
from dataclasses import dataclass

from psp_core.augmentation import Augmentation
from psp_core.course import Course
from psp_core.datasets import Data
from psp_core.evaluation import CHUNK_BYTES
from psp_core.growth import Growth
from psp_core.kept import Kept
from psp_core.models import LayerSize
from psp_core.optimisers import Optimiser
from psp_core.streams import Stream


@dataclass(frozen=True, kw_only=True)
class Cost:
    """What one trial costs.

    Attributes:
        num_params: real numbers that are trained and that all tasks share.
        trunk_size: real numbers of the layers that are not one task's, whatever trains them.
        num_activations: real numbers that one sample has in all layers, the input included.
        step_products: multiplications of one sample in a training step: forwards, and backwards to weights and inputs.
        retrieved_products: multiplications of one sample through a retrieved network.
        measuring_products: multiplications to measure one test sample.
        answering_products: multiplications to answer one image whose task is given.
        finding_products: multiplications to find out which task a question is of, beside that; 0 where it is given.
        ending_products: multiplications when a task's training ends, of all samples that are looked at then.
        bound_weights: numbers of weights that a step binds, beside what products do.
        drawing_products: multiplications to draw what tasks have of their own, where that takes more than filling it.
        retrieving_products: multiplications to retrieve one task's network; 0 where it is bound as it runs.
        retrieving_numbers: numbers that are read to retrieve it.
        own_bytes: memory of one more member with a seed of its own, but for its batches.
        trained: numbers that are trained: those that all tasks share, and a task's own.
        kept: bytes that have to be kept when training is over.
    """

    num_params: int
    trunk_size: int
    num_activations: int
    step_products: int
    retrieved_products: int
    measuring_products: int
    answering_products: int
    finding_products: int = 0
    ending_products: int = 0
    bound_weights: int = 0
    drawing_products: int = 0
    retrieving_products: int = 0
    retrieving_numbers: int = 0
    own_bytes: int
    trained: Growth
    kept: Kept

    def member_bytes(self, trial: Course) -> int:
        """Memory of one more member: weights, gradients, the optimiser's state, tasks' own; and batches."""
        return self.own_bytes + _image_bytes(trial) + _batch_bytes(trial)


def shared_bytes(trial: Course, device: str) -> int:
    """What a pack needs whatever its size: the data set, and the chunks that are measured at once.

    Of a data set whose images stay in files, the labels.
    """
    data = trial.of(Data).sizes
    of_sample = 8 + (data.num_inputs if data.in_memory else 0)
    return (data.num_train + data.num_test) * of_sample + 6 * CHUNK_BYTES[device]


def num_activations(trial: Course, layers: Sequence[LayerSize], parts: int = 1) -> int:
    """Real numbers that one sample has in all layers of so many real parts, the input included."""
    return trial.of(Data).sizes.num_inputs + parts * sum(layer.outputs * layer.positions for layer in layers)


def num_weights(layer: LayerSize, parts: int = 1) -> int:
    """Real numbers of a layer, its biases counted."""
    return parts * layer.inputs * layer.outputs + layer.has_bias * layer.outputs


def products(layers: Sequence[LayerSize]) -> list[int]:
    """Each layer's multiplications of one sample."""
    return [layer.inputs * layer.outputs * layer.positions for layer in layers]


def step_products(layers: Sequence[LayerSize]) -> int:
    """Multiplications of one sample in a step: forwards, and backwards to weights and to all inputs but the first's."""
    return sum((2 + (index > 0)) * product for index, product in enumerate(products(layers)))


def num_state(trial: Course) -> int:
    """Numbers that the optimiser remembers of each that it moves."""
    optimiser = trial.of(Optimiser)
    return len(optimiser.used_state([optimiser.mass]))


def _image_bytes(trial: Course) -> int:
    """The images of one task's batches, if the data set stays in its files: members of other seeds have others."""
    data = trial.of(Data).sizes
    if data.in_memory:
        return 0
    shown = min(num_task_images(trial), trial.steps_per_task * trial.batch_size)
    return shown * (data.num_inputs + 8)


def num_task_images(trial: Course) -> int:
    """Training images of one task: those of its classes."""
    data = trial.of(Data).sizes
    return data.num_train * trial.of(Stream).num_outputs(data) // data.num_classes


def _batch_bytes(trial: Course) -> int:
    """The numbers of a task's samples, and what was drawn to augment each."""
    return (8 + 3 * trial.of(Augmentation).is_any) * trial.steps_per_task * trial.batch_size

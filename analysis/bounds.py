"""Published bounds and units beside the law of capacity, where they speak of the same thing; see docs/bounds.md.

Labels, 3.6 bits a parameter. Morris et al. 2025 (arXiv 2505.24832) measure that GPT-style transformers store at most
about 3.6 bits a parameter of uniformly random strings, where nothing can be generalised. Here the unit is applied to
labels: a task shows n images, each with one of c labels, n log2(c) bits in all if labels had nothing to do with images.
So P parameters hold the labels of 3.6 P / (n log2 c) tasks one by one. Assumed: that their unit holds for these
networks, and that labels are all that is kept of an image. It is no bound of capacity, because networks generalise: a
curve above this line keeps more tasks than as many parameters could have learned by heart.

Features, n^2 / log n. Adler and Shavit 2024 (arXiv 2409.15318): n neurons compute at most O(n^2 / log n) features in
superposition, without a constant. If each task needs the same number of features, capacity cannot grow faster for ever
than this does: an exponent in width, but no height, so there is no line.
"""

from collections.abc import Sequence
from typing import Final

import numpy as np
import pandas as pd

BITS_A_PARAMETER: Final = 3.6
NUM_TRAIN: Final = {
    "digits": 1_438, "mnist": 60_000, "fashion-mnist": 60_000, "cifar-10": 50_000, "cifar-100": 50_000,
}  # fmt: skip
"""Training images of a data set, each of which every task of WHOLE_TASKS shows."""
WHOLE_TASKS: Final = ("permuting",)


def label_bits(trials: pd.DataFrame) -> "pd.Series[float]":
    """Bits of the labels that one task of each trial shows, were they random: n log2(c).

    n is the number of different images that a task's steps can have shown: at most those of the data set, less the
    validation images. NaN where this is not known: other data sets, or a stream whose tasks show a part of the images.

    Args:
        trials: columns dataset, stream, steps_per_task, batch_size, num_labels; validation where the store has it.
    """
    images = trials["dataset"].astype(object).map(NUM_TRAIN).astype(float)
    if "validation" in trials:
        images = images - trials["validation"].fillna(0)
    shown = images.clip(upper=trials["steps_per_task"] * trials["batch_size"])
    bits: pd.Series[float] = shown * np.log2(trials["num_labels"].astype(float))
    return bits.where(trials["stream"].isin(WHOLE_TASKS))


def tasks_by_heart(trials: pd.DataFrame) -> "pd.Series[float]":
    """How many tasks' labels each trial's shared parameters hold at 3.6 bits each; NaN where that is not known."""
    found: pd.Series[float] = BITS_A_PARAMETER * trials["num_params"] / label_bits(trials)
    return found


def feature_exponent(widths: Sequence[float]) -> float:
    """The exponent of n^2 / log n between the first and the last of these numbers of neurons a layer.

    The factor between neurons and width does not matter to n^2, and little to log n.
    """
    low, high = np.log([widths[0], widths[-1]])
    return float(2 - np.log(high / low) / (high - low))

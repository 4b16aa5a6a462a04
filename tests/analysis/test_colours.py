"""Colours that people who see no red, no green or no blue can tell apart, and one for each curve wherever it is."""

import itertools

import numpy as np
import pytest
from numpy.typing import NDArray

from analysis.figures.looks import HUES, KNOWN, looks_of_contexts

# Machado, Oliveira and Fernandes 2009, "A physiologically-based model for simulation of color vision deficiency", of
# severity 1.0; they act on linear RGB.
SEEN = {
    "all": np.eye(3),
    "no red": [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]],
    "no green": [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.011820, 0.042940, 0.968881]],
    "no blue": [[1.255528, -0.076749, -0.178779], [-0.078411, 0.930809, 0.147602], [0.004733, 0.691367, 0.303900]],
}
XYZ = np.array(
    [[0.4124564, 0.3575761, 0.1804375], [0.2126729, 0.7151522, 0.0721750], [0.0193339, 0.1191920, 0.9503041]]
)
WHITE = np.array([0.95047, 1.0, 1.08883])


def lab(colour: tuple[float, float, float], matrix: NDArray[np.float64]) -> NDArray[np.float64]:
    """CIELAB of an sRGB colour as somebody sees it."""
    c = np.array(colour)
    linear = np.where(c <= 0.04045, c / 12.92, ((c + 0.055) / 1.055) ** 2.4)
    x = XYZ @ np.clip(matrix @ linear, 0, 1) / WHITE
    f = np.where(x > (6 / 29) ** 3, np.cbrt(x), x / (3 * (6 / 29) ** 2) + 4 / 29)
    return np.array([116 * f[1] - 16, 500 * (f[0] - f[1]), 200 * (f[1] - f[2])])


@pytest.mark.parametrize("who", SEEN)
def test_plain_training_and_all_hues_are_told_apart(who: str) -> None:
    looks = looks_of_contexts(["none", *KNOWN[: len(HUES)]])
    seen = [lab(look.colour, np.array(SEEN[who])) for look in looks.values()]
    assert len(seen) == 1 + len(HUES)
    apart = min(np.linalg.norm(one - other) for one, other in itertools.combinations(seen, 2))
    assert apart > 10  # 2.3 is just noticed


def test_a_method_has_its_colour_whatever_its_strength_and_whatever_is_beside_it() -> None:
    labels = ["binary", "complex", "none", "none, ewc 10", "xdg 0.8", "supsup +90", "mine"]
    every = looks_of_contexts(labels)
    for label in labels[:-1]:
        assert looks_of_contexts([label, "other"])[label] == every[label]
    assert looks_of_contexts(["none, ewc 0.137"])["none, ewc 0.137"].colour == every["none, ewc 10"].colour
    assert len({look.colour for look in every.values()}) == len(labels)


def test_strengths_beside_each_other_differ() -> None:
    looks = looks_of_contexts(["none, ewc 1", "none, ewc 10", "none, ewc 100", "binary"])
    assert len({look.colour for look in looks.values()}) == 4

"""Gives each curve a colour, a marker and dashes. A context or a method has the same look in every figure."""

import itertools
import re
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

import matplotlib as mpl

from analysis.roles import in_order

Colour = tuple[float, float, float]

VARIANTS: Final[dict[str, Colour]] = {  # the paper's other curves
    "none, head per task": (0.1, 0.1, 0.1),
    "complex, local-mix": (0.4, 0.07, 0.3),
    "complex x100": (0.45, 0.35, 0.85),
    "complex x100, local-mix": (0.5, 0.7, 0.1),
}
GREY: Final[Colour] = (0.45, 0.45, 0.45)
HUES: Final = ("#0072b2", "#e69f00", "#009e73", "#d55e00", "#cc79a7", "#56b4e9", "#882255", "#999933")
"""For the colour-blind: Okabe and Ito's ("Color Universal Design", 2008) without black and yellow, which is hard to see
as a line; and wine and olive of Tol's "muted" palette ("Colour Schemes", 2021)."""
KNOWN: Final = (
    *("binary", "complex", "one-power", "rotation", "structured-rotation", "supsup", "none, ewc", "xdg"),
    *("rotation-powers", "householder", "permutation", "signed-permutation"),
    *("hadamard", "fourier", "plain-complex", "mask"),
    *("none, si", "hat c", "none, packnet", "none, replay", "none, gpm", "none, lwf", "none, mas", "batche"),
    *("structured-rotation-1", "ternary", "gaussian", "none, online-ewc", "none, a-gem", "none, joint"),
    *("none, independent nets", "randes"),
)
"""Labels without their numbers, in the order of colours: HUES, then HUES darker, lighter, and darker again."""
MARKERS: Final = "os^DvPX*<>pdh"
UNFILLED: Final = "|+x"
DASHES: Final[tuple[tuple[float, ...], ...]] = (
    (),
    (5, 1.5),
    (1.2, 1.2),
    (6, 1.5, 1.2, 1.5),
    (4, 1.2, 1.2, 1.2, 1.2, 1.2),
    (8, 2),
    (2.5, 1.2),
)
"""There are 13 markers and 7 dashes. So 91 curves differ in marker or dashes, even in grey."""


@dataclass(frozen=True, kw_only=True)
class Look:
    """The look of a curve."""

    colour: Colour
    marker: str
    dashes: tuple[float, ...]
    is_joined: bool = True
    label: str = ""

    def line(self) -> dict[str, Any]:
        """Options of `Axes.plot` for the line."""
        style = "none" if not self.is_joined else (0, self.dashes) if self.dashes else "-"
        return {"color": self.colour, "linestyle": style, "label": self.label}

    def points(self) -> dict[str, Any]:
        """Options of `Axes.plot` for the markers."""
        edge = {"markeredgecolor": "white", "markeredgewidth": 0.3} if self.marker not in UNFILLED else {}
        return {"marker": self.marker, **edge}


def looks_of_contexts(labels: Collection[str]) -> dict[str, Look]:
    """A look for each of these labels, in the order of legends.

    A label of KNOWN always has the same, also with a number such as a strength, unless another label differs from it in
    its numbers alone. Every other label has what KNOWN leaves.
    """
    names = {label: label if label in KNOWN else _without_numbers(label) for label in labels}
    alike = Counter(names.values())
    known = {label: KNOWN.index(name) for label, name in names.items() if name in KNOWN and alike[name] == 1}
    free = (index for index in itertools.count() if index not in known.values())
    others = sorted({*labels} - {*known, "none", *VARIANTS})
    indices = known | dict(zip(others, free, strict=False))
    looks = {"none": _look(0, GREY)}
    looks |= {label: _look(1 + index, _hue(index)) for label, index in indices.items()}
    looks |= {label: _look(1 + len(KNOWN) + place, colour) for place, (label, colour) in enumerate(VARIANTS.items())}
    return {label: looks[label] for label in in_order(labels)}


def _without_numbers(label: str) -> str:
    """`none, ewc 0.1` as `none, ewc`."""
    return re.sub(r" [\d.e+-]+(?=,|$)", "", label)


def looks_of_names(names: Sequence[str]) -> dict[str, Look]:
    """A look for each value of a setting whose values are names."""
    return {name: _look(index, _hue(index)) for index, name in enumerate(names)}


def looks_of_numbers(numbers: Sequence[float]) -> dict[float, Look]:
    """A look for each number: the larger, the lighter."""
    colours = mpl.colormaps["viridis"]
    share = 0.85 / max(len(numbers) - 1, 1)
    return {
        number: _look(index, mpl.colors.to_rgb(colours(share * index)), dashes=())
        for index, number in enumerate(numbers)
    }


def dashed(looks: Mapping[Any, Look], style: int) -> dict[Any, Look]:
    """The looks with the dashes of a further setting's value, the `style`-th."""
    return {name: replace(look, dashes=DASHES[style]) for name, look in looks.items()}


def unjoined(look: Look) -> Look:
    """The look without a line between points."""
    return replace(look, is_joined=False)


def _look(index: int, colour: Colour, dashes: tuple[float, ...] | None = None) -> Look:
    marker = MARKERS[index % len(MARKERS)]
    return Look(colour=colour, marker=marker, dashes=DASHES[index % len(DASHES)] if dashes is None else dashes)


def _hue(index: int) -> Colour:
    """HUES, darker, lighter, and darker again."""
    hue = mpl.colors.to_rgb(HUES[index % len(HUES)])
    round_ = index // len(HUES)
    if round_ == 2:
        return _mix(hue, 0.45, 0.55)
    return _mix(hue, 0.55 ** (round_ if round_ < 2 else round_ - 1), 0)


def _mix(hue: Colour, share: float, white: float) -> Colour:
    red, green, blue = (share * part + white for part in hue)
    return red, green, blue

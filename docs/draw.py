"""Draws the figures of this folder whose trials are kept in reference/: `make figures`."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final

from matplotlib.figure import Figure

from analysis import compare_plot, figures, load
from analysis.compare import compare_store
from analysis.store import read_store

DOCS: Final = Path(__file__).parent
KEPT: Final = DOCS.parent / "reference"


def crosstalk() -> Figure:
    """Of inputs of which a sixteenth is in use."""
    rows = read_store(str(KEPT / "retrieval")).crosstalk
    return figures.crosstalk(rows[rows["support"] == 1 / 16])


def rotating() -> Figure:
    """Our curves below the points of PSP's Figs. 4b and 5."""
    (found,) = [each for each in compare_store(str(KEPT / "rotating-fashion")) if len(each.steps) > 1]
    return compare_plot.draw(found)


DRAWN: Final[Mapping[str, Callable[[], Figure]]] = {
    "context-bytes": lambda: figures.context_bytes(load(str(KEPT / "permuting-mnist-256-contexts"))),
    "crosstalk": crosstalk,
    "equal-bytes": lambda: figures.equal_bytes(load(str(KEPT / "masks-and-contexts"))),
    "masks-used": lambda: figures.masks_used(load(str(KEPT / "supsup-nns-mnist"))),
    "rotating": rotating,
}
"""By file name."""

if __name__ == "__main__":
    for name, draw in DRAWN.items():
        figures.save(draw(), DOCS / f"{name}.png")

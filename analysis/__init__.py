"""Stored trial data to tables and figures. Reads a trial store's files; needs no torch and no Ray.

from analysis import figures, load
figures.capacity(load("results/quickstart"))
"""

from collections.abc import Collection, Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from analysis.measured import Measured


def load(out: str, select: Mapping[str, Collection[Any]] | None = None, **roles: str) -> "Measured":
    """An experiment of a store, which every function of `analysis.figures` draws.

    Args:
        out: a trial store: a folder, or a URI such as s3://bucket/path.
        select: the values to draw of some settings: `{"context": ["binary", "complex"]}`. [default: all]
        roles: the setting to be shown by each of `x`, `hue`, `dashes` and `panel`. [default: as suits what varies]

    Raises:
        StoreError: there is no store, nothing is measured or selected, a setting is unknown, or the store has several
            experiments, which no figure shows together; the message names what to select.
    """
    from analysis.loading import experiment  # here, because the command line's help imports this package

    return experiment(out, select or {}, roles)

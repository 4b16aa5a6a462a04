"""Every figure that a store's trials support, into its figures folder."""

import io
from collections.abc import Iterator
from typing import Final

import matplotlib as mpl
import matplotlib.pyplot as plt
import pandas as pd
import seaborn as sns

from analysis.figures import FIGURES, UnsupportedError
from analysis.store import STRATUM, StoreError, open_folder, read_store
from analysis.tables import Measured

FORMATS: Final = ("png", "svg", "pdf")


def plot_store(out: str, format: str = "png") -> Iterator[str]:
    """Draw the figures into OUT/figures; yields a line for each figure, drawn or skipped.

    Args:
        out: a trial store.
        format: png, svg or pdf.

    Raises:
        StoreError: unknown format, or no store at that place; at the end, and after everything that
            can be drawn is drawn, where a file of the store is damaged.
    """
    if format not in FORMATS:
        raise StoreError(f"format={format!r} is not known; use one of {', '.join(FORMATS)}.")
    store = read_store(out)
    yield from (f"note: {note}" for note in store.left_out)
    if store.evals.empty:
        raise StoreError(f"out={out!r} holds no measured trial yet; see psp status.")
    fs, root = open_folder(out)
    try:
        fs.create_dir(f"{root}/figures", recursive=True)
    except OSError as error:
        raise StoreError(f"out={out!r} cannot be written: {error}. Copy the store to a place that can.") from None
    mpl.use("Agg")
    sns.set_theme(style="whitegrid", context="paper")
    for suffix, evals in strata(store.evals):
        measured = Measured(evals)
        for name, draw in FIGURES.items():
            try:
                figure = draw(measured)
            except UnsupportedError as reason:
                yield f"skipped {name}{suffix}: {reason}"
                continue
            content = io.BytesIO()
            figure.savefig(content, format=format, dpi=150)
            plt.close(figure)
            with fs.open_output_stream(f"{root}/figures/{name}{suffix}.{format}") as stream:
                stream.write(content.getvalue())
            yield f"drew {out.rstrip('/')}/figures/{name}{suffix}.{format}"
    if store.damaged:
        raise StoreError(" ".join(store.damaged))


def strata(evals: pd.DataFrame) -> Iterator[tuple[str, pd.DataFrame]]:
    """The experiments in one store, each with a suffix for its file names.

    Usually one, with an empty suffix. Trials that differ in a setting no figure shows (depth, say)
    are never averaged together: each value gets figures of its own.
    """
    varying = [column for column in STRATUM if evals[column].nunique(dropna=False) > 1]
    if not varying:
        yield "", evals
        return
    for values, group in evals.groupby(varying, dropna=False, observed=True):
        yield "".join(f"-{column}={value}" for column, value in zip(varying, values, strict=True)), group

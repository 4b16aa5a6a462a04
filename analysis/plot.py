"""Every figure that a store's trials support, into its figures folder."""

import contextlib
import io
import os
from collections.abc import Iterator
from typing import Final

import matplotlib as mpl
import matplotlib.pyplot as plt
import pandas as pd
import pyarrow.fs as pafs
import seaborn as sns
from matplotlib.figure import Figure

from analysis.figures import FIGURES, UnsupportedError, crosstalk
from analysis.store import RECIPE, STRATUM, StoreError, open_folder, read_store
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
    check_format(format)
    store = read_store(out)
    yield from (f"note: {note}" for note in store.left_out)
    if store.evals.empty and store.crosstalk.empty:
        raise StoreError(f"out={out!r} holds no measured trial yet; see psp status.")
    folder = FigureFolder(out, format)
    if not store.crosstalk.empty:
        for (alignment, support), rows in store.crosstalk.groupby(["alignment", "support"]):
            name = f"crosstalk-support={support:g}" + (f"-alignment={alignment:g}" if alignment else "")
            yield f"drew {folder.save(crosstalk.draw(rows), name)}"
    for suffix, evals in strata(store.evals):
        measured = Measured(evals, store.trials, store.curves)
        for name, draw in FIGURES.items():
            try:
                figure = draw(measured)
            except UnsupportedError as reason:
                yield f"skipped {name}{suffix}: {reason}"
                continue
            yield f"drew {folder.save(figure, f'{name}{suffix}')}"
    if store.damaged:
        raise StoreError(" ".join(store.damaged))


class FigureFolder:
    """The figures folder of a store, made if it is not there.

    Raises:
        StoreError: no store at that place, or it cannot be written.
    """

    def __init__(self, out: str, format: str) -> None:
        """Make the folder, and choose how figures look."""
        self.out, self.format = out, format
        self._fs, root = open_folder(out)
        self._path = f"{root}/figures"
        try:
            if self._is_local():  # an object store has no folders, and may refuse to look for its bucket
                self._fs.create_dir(self._path, recursive=True)
        except OSError as error:
            raise self._not_written(error) from None
        mpl.use("Agg")
        sns.set_theme(style="whitegrid", context="paper")

    def save(self, figure: Figure, name: str) -> str:
        """Write a figure and close it; gives its place as the user would name it.

        Raises:
            StoreError: it cannot be written.
        """
        content = io.BytesIO()
        figure.savefig(content, format=self.format, dpi=150)
        plt.close(figure)
        try:
            self._write(f"{name}.{self.format}", content.getvalue())
        except OSError as error:
            raise self._not_written(error) from None
        return f"{self.out.rstrip('/')}/figures/{name}.{self.format}"

    def _write(self, name: str, content: bytes) -> None:
        """Write a file whole or not at all: renamed into place, or one PUT on an object store."""
        written = f".{name}.{os.getpid()}" if self._is_local() else name
        try:
            with self._fs.open_output_stream(f"{self._path}/{written}") as stream:
                stream.write(content)
            if written != name:
                self._fs.move(f"{self._path}/{written}", f"{self._path}/{name}")
        except OSError:
            if written != name:
                with contextlib.suppress(OSError):
                    self._fs.delete_file(f"{self._path}/{written}")
            raise

    def _is_local(self) -> bool:
        return isinstance(self._fs, pafs.LocalFileSystem)

    def _not_written(self, error: OSError) -> StoreError:
        return StoreError(
            f"out={self.out!r} cannot be written: {' '.join(str(error).split())}. Copy the store to a place that can."
        )


def check_format(format: str) -> None:
    """Refuse a format that figures are not drawn in.

    Raises:
        StoreError: names those that are.
    """
    if format not in FORMATS:
        raise StoreError(f"format={format!r} is not known; use one of {', '.join(FORMATS)}.")


def strata(evals: pd.DataFrame) -> Iterator[tuple[str, pd.DataFrame]]:
    """The experiments in one store, each with a suffix for its file names.

    Usually one, with an empty suffix. Trials that differ in a setting no figure shows (depth, say)
    are never averaged together: each value gets figures of its own. A rival's optimiser, later learning
    rate and weight decay are what its label means, as long as that label has them alone, so it stands in the others'
    figures.
    """
    if evals.empty:
        return
    trials = evals.loc[~evals["trial_id"].duplicated(), ["trial_id", "context", "own_recipe", *STRATUM]]
    trials = trials.astype({column: object for column in trials if trials[column].dtype == "category"})
    trials = trials.assign(**{column: _without_recipes(trials, column) for column in RECIPE})
    varying = [column for column in STRATUM if trials[column].nunique(dropna=False) > 1]
    if not varying:
        yield "", evals
        return
    for values, group in trials.groupby(varying, dropna=False):
        suffix = "".join(f"-{column}={value}" for column, value in zip(varying, values, strict=True))
        yield suffix, evals[evals["trial_id"].isin(group["trial_id"])]


def _without_recipes(trials: pd.DataFrame, column: str) -> pd.Series:
    """The column, with the other trials' value where it is a part of what a rival is; theirs must be one."""
    others = trials.loc[~trials["own_recipe"], column].unique()
    if len(others) > 1:
        return trials[column]
    has_several = trials.groupby("context")[column].transform("nunique", dropna=False) > 1
    common = others[0] if len(others) else trials[column].iloc[0]
    return trials[column].where(~trials["own_recipe"] | has_several, common)

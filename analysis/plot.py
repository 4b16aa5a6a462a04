"""Draws every figure that a store's trials support into the store's figures folder."""

import re
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

import pandas as pd
from matplotlib.figure import Figure

from analysis.experiments import settings_apart, settings_shown
from analysis.figures import BY_SETTING, FIGURES, OtherStudyError, UnsupportedError, crosstalk, tuning
from analysis.figures.saving import check_format
from analysis.figures.styles import check_style
from analysis.figures.styles import style as in_style
from analysis.folder import FigureFolder
from analysis.labels import labelled_settings
from analysis.measured import Measured, relabel
from analysis.roles import ROLES, Roles, check_names, choose, exact_text_of, is_number, runs_over, values_of, varying
from analysis.selection import parsed, select
from analysis.store import StoredTrials, StoreError, on_validation, read_store, relabelled
from analysis.tables import settings_of


def plot_store(
    out: str | Sequence[str],
    format: str = "png",
    *,
    bounds: bool = False,
    style: str = "page",
    selected: Collection[str] = (),
    store: StoredTrials | None = None,
    to: str | None = None,
    **chosen: str | None,
) -> Iterator[str]:
    """Draw the figures into OUT/figures; yields a line for each figure, drawn or skipped.

    Removes figures that an earlier call drew, and this call does not, if the store or the choice changed since.

    Args:
        out: a trial store, or several, side by side.
        format: one or more of png, svg and pdf, with commas.
        bounds: whether published bounds are drawn beside capacity.
        style: one of `analysis.figures.styles.STYLES`.
        selected: the trials to draw: `context=binary,complex`. [default: all]
        store: what `out` holds, where that is read already.
        to: the figures' folder. [default: OUT/figures; of several stores, `figures` in the working folder]
        chosen: the setting to be shown by each of `x`, `hue`, `dashes` and `panel`. [default: as suits what varies]

    Raises:
        StoreError: unknown format, style, setting or value, or no store at that place. Where a file of the store is
            damaged: at the end, when all other files' figures are drawn.
    """
    check_format(format)
    check_style(style)
    whole = store or read_store(*([out] if isinstance(out, str) else out))
    store = select(whole, parsed(selected, whole))
    yield from (f"note: {note}" for note in store.left_out)
    if store.validated:
        yield from (f"note: of those on validation images, {note}" for note in store.validated.left_out)
    if store.evals.empty and store.crosstalk.empty:
        raise StoreError(f"out={out!r} holds no measured trial yet; see psp status.")
    asked = {role: chosen.get(role) for role in ROLES if chosen.get(role)}
    if store.evals.empty and asked:
        raise StoreError(f"out={out!r} holds retrieval alone, whose one figure has no other {' or '.join(asked)}.")
    is_tuning = bool(store.cells) and on_validation(store.trials).all()  # nothing is measured yet
    of_accuracy = [] if store.evals.empty or is_tuning else _of_accuracy(store, asked, bounds, whole)
    figures = [*_of_crosstalk(store), *of_accuracy, *_of_tuning(store)]
    options = {**asked, "bounds": bounds, "selected": sorted(selected)}
    with FigureFolder(out, format, "plot", options, to) as folder, in_style(style):
        told = set()
        for name, draw in figures:
            try:
                figure = draw()
            except OtherStudyError:
                continue
            except UnsupportedError as reason:
                line = f"skipped {name}: {reason}"
                if line not in told:
                    yield line
                told.add(line)
                continue
            yield f"drew {folder.save(figure, name)}"
    if folder.removed:
        yield f"removed {', '.join(folder.removed)}: drawn before, of another state of the store or other options"
    if store.damaged:
        raise StoreError(" ".join(store.damaged))


Job = tuple[str, Callable[[], Figure]]  # a file's name, and the function that draws the file's figure


def _of_crosstalk(store: StoredTrials) -> Iterator[Job]:
    if store.crosstalk.empty:
        return
    varied = [name for name in settings_apart(store.trials) if store.crosstalk[name].nunique(dropna=False) > 1]
    for where, rows in _split(store.crosstalk, varied):
        yield f"crosstalk{suffix_of(where)}", lambda where=where, rows=rows: crosstalk(rows, where)  # type: ignore[misc]


def _of_accuracy(
    store: StoredTrials, chosen: Mapping[str, str | None], bounds: bool, among: StoredTrials
) -> Iterator[Job]:
    whole = replace(with_roles(store, chosen, among), with_bounds=bounds)
    for suffix, measured in experiments(whole):
        for name, draw in FIGURES.items():
            yield f"{name}{suffix}", lambda draw=draw, measured=measured: draw(measured)  # type: ignore[misc]
    for x in whole.roles.x:
        for suffix, measured in experiments(whole, besides=[x]):
            for name, draw_by in BY_SETTING.items():
                yield (
                    f"{name}-{x}{suffix}",
                    lambda draw=draw_by, measured=measured, x=x: draw(measured, x),  # type: ignore[misc]
                )


def _of_tuning(store: StoredTrials) -> Iterator[Job]:
    if store.cells:
        tried = store.validated.trials if store.validated else store.trials
        yield "tuning", lambda: tuning(store.cells, tried)


def with_roles(
    store: StoredTrials, chosen: Mapping[str, str | None] | None = None, among: StoredTrials | None = None
) -> Measured:
    """A store's measurements, and the roles of settings in its figures.

    Args:
        store: a trial store, or a selection of its trials.
        chosen: a setting for some of ROLES.
        among: the whole store, where each curve has a look of its own. [default: store]

    Raises:
        StoreError: a chosen setting is unknown or does not vary.
    """
    shown, labelled = settings_shown(store.evals), labelled_settings(store.trials)
    trials = _settings(store.evals, store.trials, shown)
    among = among or store
    asked = check_names(_settings(among.evals, among.trials, settings_shown(among.evals)), chosen or {}, among.trials)
    measured = Measured(store.evals, store.trials, store.curves, store.predictions, diverged=store.diverged)
    unsaid = [setting for role, setting in asked.items() if role != "x" and setting in labelled]
    if unsaid:
        measured = relabel(measured, unsaid)
        trials = _settings(measured.evals, store.trials, shown)
    axes = [setting for setting in labelled if _is_axis(trials, store.trials, setting, shown)]
    roles = choose(trials, shown, asked, axes)
    return replace(measured, roles=replace(roles, every=_every(among, roles)))


def _every(store: StoredTrials, roles: Roles) -> dict[str, list[Any]]:
    """All values in the store of the settings that figures show; labels are whole."""
    trials = _settings(store.evals, store.trials, settings_shown(store.evals))
    return {name: values_of(trials, name) for name in ("context", *roles.settings) if name in trials}


def _settings(evals: pd.DataFrame, trials: pd.DataFrame, shown: Sequence[str]) -> pd.DataFrame:
    """A row for each trial that is drawn: the settings `shown`, lr, and the settings that labels speak of."""
    known = settings_of(evals, [*shown, "lr"])
    labelled = [setting for setting in labelled_settings(trials) if setting not in known]
    return known.merge(trials[["trial_id", *labelled]], on="trial_id")


def _is_axis(known: pd.DataFrame, trials: pd.DataFrame, setting: str, shown: Sequence[str]) -> bool:
    """Whether some curve runs over at least three values of a labelled setting, once labels leave it out."""
    numbers = [value for value in values_of(known, setting) if value is not None]
    if len(numbers) < 3 or not all(map(is_number, numbers)):
        return False
    quiet = relabelled(trials[trials["trial_id"].isin(known["trial_id"])], [setting])
    return runs_over(quiet, setting, [name for name in shown if name != setting])


def experiments(whole: Measured, besides: Collection[str] = ()) -> Iterator[tuple[str, Measured]]:
    """The experiments of a store, each with a suffix for its files' names."""
    shown = [*whole.roles.settings, *besides]
    for where, evals in strata(whole.evals, shown):
        yield suffix_of(where), replace(whole, evals=evals, diverged=_with(whole.diverged, where), where=where)


def _with(trials: pd.DataFrame, where: Mapping[str, Any]) -> pd.DataFrame:
    """Those of the trials that have these settings."""
    for setting, value in where.items() if not trials.empty else ():
        trials = trials[trials[setting].isna() if value is None else trials[setting] == value]
    return trials


def strata(
    evals: pd.DataFrame, shown: Collection[str] = ("context", "width")
) -> Iterator[tuple[dict[str, Any], pd.DataFrame]]:
    """The experiments in one store, each with its values of the settings that tell them apart.

    Most stores have one. Figures never average trials that differ in a setting that no figure shows: each value of such
    a setting has its own figures. Settings that belong to curves are no such settings (`analysis.experiments`).

    Args:
        evals: measurements with their trials' settings.
        shown: the settings that figures show.
    """
    settings = settings_shown(evals)
    trials = settings_of(evals, settings)
    hidden = sorted(set(varying(trials, settings)).difference(shown), key=settings.index)
    for where, group in _split(trials, hidden):
        yield where, evals[evals["trial_id"].isin(group["trial_id"])] if where else evals


def _split(rows: pd.DataFrame, settings: list[str]) -> Iterator[tuple[dict[str, Any], pd.DataFrame]]:
    """The rows by their values of these settings; all rows where there are no settings."""
    if not settings:
        yield {}, rows
        return
    for values, group in rows.groupby(settings, dropna=False):
        found: list[Any] = list(values)
        yield {name: None if pd.isna(value) else value for name, value in zip(settings, found, strict=True)}, group


def suffix_of(where: Mapping[str, Any]) -> str:
    """The end of an experiment's file names: `-depth=3-optimiser=adam`."""
    texts = (f"-{setting}={exact_text_of(value)}" for setting, value in where.items())
    return re.sub(r"[^\w.=+-]+", "-", "".join(texts))

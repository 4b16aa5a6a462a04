"""Every figure that a store's trials support, into its figures folder."""

import re
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import replace
from typing import Any, Final

import pandas as pd
from matplotlib.figure import Figure

from analysis.figures import BY_SETTING, FIGURES, OtherStudyError, UnsupportedError, crosstalk
from analysis.folder import FigureFolder, check_format
from analysis.labels import LABEL_SETTINGS
from analysis.measured import Measured, relabel
from analysis.roles import ROLES, check_names, choose, is_number, runs_over, values_of, varying, without_recipes
from analysis.store import RECIPE, SHOWN, Store, StoreError, read_store, relabelled
from analysis.tables import settings_of

SPOKEN_OF: Final = [setting for setting in LABEL_SETTINGS if setting != "context"]  # by curves' labels


def plot_store(out: str, format: str = "png", **chosen: str | None) -> Iterator[str]:
    """Draw the figures into OUT/figures; yields a line for each figure, drawn or skipped.

    Figures that an earlier call drew and this one does not are removed, where the store or the choice is another.

    Args:
        out: a trial store.
        format: png, svg or pdf.
        chosen: by `x`, `hue`, `style` and `panel` the setting to be shown by it. [default: as suits what varies]

    Raises:
        StoreError: unknown format or setting, or no store at that place; at the end, and after everything that
            can be drawn is drawn, where a file of the store is damaged.
    """
    check_format(format)
    store = read_store(out)
    yield from (f"note: {note}" for note in store.left_out)
    if store.evals.empty and store.crosstalk.empty:
        raise StoreError(f"out={out!r} holds no measured trial yet; see psp status.")
    asked = {role: chosen.get(role) for role in ROLES if chosen.get(role)}
    if store.evals.empty and asked:
        raise StoreError(f"out={out!r} holds retrieval alone, whose one figure has no other {' or '.join(asked)}.")
    figures = [*_of_crosstalk(store), *([] if store.evals.empty else _of_accuracy(store, asked))]
    with FigureFolder(out, format, "plot", asked) as folder:
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


Job = tuple[str, Callable[[], Figure]]  # a file's name, and what draws it


def _of_crosstalk(store: Store) -> Iterator[Job]:
    if store.crosstalk.empty:
        return
    for (alignment, support), rows in store.crosstalk.groupby(["alignment", "support"]):
        name = f"crosstalk-support={support:g}" + (f"-alignment={alignment:g}" if alignment else "")
        yield name, lambda rows=rows: crosstalk.draw(rows)  # type: ignore[misc]


def _of_accuracy(store: Store, chosen: Mapping[str, str | None]) -> Iterator[Job]:
    whole = with_roles(store, chosen)
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


def with_roles(store: Store, chosen: Mapping[str, str | None] | None = None) -> Measured:
    """A store's trials, and which setting is shown by what.

    Raises:
        StoreError: a chosen setting is not known, or does not vary.
    """
    trials = _settings(store.evals, store.trials)
    asked = check_names(trials, chosen or {})
    measured = Measured(store.evals, store.trials, store.curves, diverged=store.diverged)
    unsaid = [setting for role, setting in asked.items() if role != "x" and setting in SPOKEN_OF]
    if unsaid:
        measured = relabel(measured, unsaid)
        trials = _settings(measured.evals, store.trials)
    roles = choose(trials, asked, [setting for setting in SPOKEN_OF if _is_axis(trials, store.trials, setting)])
    return replace(measured, roles=roles)


def _settings(evals: pd.DataFrame, trials: pd.DataFrame) -> pd.DataFrame:
    """A row for each trial that is drawn: what tells trials apart, and what curves' labels speak of."""
    known = settings_of(evals, [*SHOWN, "own_recipe", "lr"])
    spoken = [setting for setting in SPOKEN_OF if setting not in known]
    return known.merge(trials[["trial_id", *spoken]], on="trial_id")


def _is_axis(known: pd.DataFrame, trials: pd.DataFrame, setting: str) -> bool:
    """Whether some curve runs over three or more values of a setting that labels speak of, once they do not."""
    numbers = [value for value in values_of(known, setting) if value is not None]
    if len(numbers) < 3 or not all(map(is_number, numbers)):
        return False
    quiet = relabelled(trials[trials["trial_id"].isin(known["trial_id"])], [setting])
    return runs_over(quiet, setting, [name for name in SHOWN if name != setting])


def experiments(whole: Measured, besides: Collection[str] = ()) -> Iterator[tuple[str, Measured]]:
    """The trials by what figures do not show, each with a suffix for its files' names."""
    shown = [*whole.roles.settings, *besides]
    hidden = [setting for setting in varying(settings_of(whole.evals, [*SHOWN, "own_recipe"])) if setting not in shown]
    for suffix, evals in strata(whole.evals, shown):
        trials = without_recipes(settings_of(evals, [*SHOWN, "own_recipe"]))
        where = {setting: trials[setting].iloc[0] for setting in hidden}
        lost = _with(whole.diverged, where)
        yield suffix, replace(whole, evals=evals, diverged=lost, where=where)


def _with(trials: pd.DataFrame, where: Mapping[str, Any]) -> pd.DataFrame:
    """Those of the trials that have these settings; a rival's own recipe is as good as any."""
    for setting, value in where.items() if not trials.empty else ():
        alike = trials[setting].isna() if value is None or value != value else trials[setting] == value
        own = trials["own_recipe"] if setting in RECIPE else False
        trials = trials[alike | own]
    return trials


def strata(evals: pd.DataFrame, shown: Collection[str] = ("context", "width")) -> Iterator[tuple[str, pd.DataFrame]]:
    """The experiments in one store, each with a suffix for its file names.

    Usually one, with an empty suffix. Trials that differ in a setting that no figure shows are never averaged
    together: each value gets figures of its own. What belongs to how a rival is trained (RECIPE) is what its
    label means, as long as that label has it alone, so it stands in the others' figures.
    """
    if evals.empty:
        return
    trials = without_recipes(settings_of(evals, [*SHOWN, "own_recipe"]))
    hidden = [setting for setting in SHOWN if setting in varying(trials) and setting not in shown]
    if not hidden:
        yield "", evals
        return
    for values, group in trials.groupby(hidden, dropna=False):
        suffix = "".join(f"-{setting}={value}" for setting, value in zip(hidden, values, strict=True))
        yield re.sub(r"[^\w.=+-]+", "-", suffix), evals[evals["trial_id"].isin(group["trial_id"])]

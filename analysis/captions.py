"""Figures' captions: how many seeds, which learning rates, which trials diverged, and the settings behind them."""

import json
from collections.abc import Iterator, Sequence
from typing import Final

import numpy as np
import pandas as pd

from analysis.experiments import of_curves, settings_apart, settings_shown
from analysis.measured import Measured
from analysis.roles import in_order, name_of, said, text_of, values_of
from analysis.tables import settings_of

MOST_LISTED: Final = 6
NAMED: Final = ("dataset", "stream", "context", "model", "width", "depth", "steps_per_task", "batch_size", "optimiser")


def caption(
    measured: Measured,
    frame: pd.DataFrame,
    note: str = "",
    *,
    x: str = "",
    shown_as: str | None = "bands",
    of_means: bool = True,
) -> str:
    """The caption of a figure: a line of what is drawn and which interval, of the trials, and of their settings.

    Args:
        measured: the experiment.
        frame: the rows that are drawn, with the settings of the roles.
        note: the first sentences.
        x: the column that the figure runs over. Where that is a setting, each of its values is a mean of its own.
        shown_as: the name of what shows intervals, such as bands; None where the figure shows none.
        of_means: False where the figure does not draw means.
    """
    drawn = frame.drop_duplicates("trial_id")
    by = list(dict.fromkeys([*measured.roles.settings, *(s for s in measured.roles.x if x == "place" or s == x)]))
    by = [setting for setting in by if setting in drawn and setting != "lr"]
    shown = [note, _seeds(drawn, by, shown_as, of_means)]
    trials = [_rates(measured, drawn, by), tuned(measured, drawn), _missing(measured, drawn, by)]
    trials.append(_by_curve(measured, drawn))
    lines = [" ".join(filter(None, sentences)) for sentences in (shown, trials)]
    return "\n".join(filter(None, [*lines, fixed(measured, drawn)]))


def _seeds(drawn: pd.DataFrame, by: list[str], shown_as: str | None, of_means: bool) -> str:
    """How many seeds each mean has; for each curve where the numbers differ."""
    what = "Mean of " if of_means else ""
    alone = [*by, *(["lr"] if drawn.groupby(by, dropna=False)["lr"].nunique().max() > 1 else [])]
    sizes = drawn.groupby(alone, dropna=False).size()
    if sizes.max() == 1:
        return f"One seed, so no {shown_as}." if shown_as else "One seed."
    band = f"; {shown_as}: 95% interval of the mean (Student's t)" if shown_as else ""
    if sizes.min() == sizes.max():
        return f"{what}{sizes.max()} seeds{band}."
    numbers = sizes.rename("n").reset_index()
    curve = "context" if "context" in by else by[0]
    curves = numbers.fillna({curve: text_of(None)}).groupby(curve)["n"].agg(["min", "max"])
    each = ", ".join(f"{text_of(value)} {_span(*curves.loc[value])}" for value in in_order(curves.index.tolist()))
    if len(curves) > 1 and len(curves) <= 2 * MOST_LISTED:
        return f"{what}{sizes.min()} to {sizes.max()} seeds: {each}{band}."
    return f"{what}{sizes.min()} to {sizes.max()} seeds{band}."


def _span(low: float, high: float) -> str:
    return f"{low:g}" if low == high else f"{low:g} to {high:g}"


def _rates(measured: Measured, drawn: pd.DataFrame, by: list[str]) -> str:
    """Each curve's learning rate, where several were tried and the best was chosen."""
    tried = settings_of(measured.evals, [*by, "lr"])
    several = tried.groupby(by, dropna=False)["lr"].nunique().max() > 1
    if not several or (drawn.groupby(by, dropna=False)["lr"].nunique() > 1).any():
        return ""
    best = drawn[[*by, "lr"]].drop_duplicates()
    of = ", ".join(f"{lr:g}" for lr in sorted(tried["lr"].unique()))
    each = f"{best['lr'].iloc[0]:g}" if best["lr"].nunique() == 1 else "; ".join(_rates_of_curves(best, by))
    counted = "" if measured.diverged.empty else " (a trial that diverged counts as chance)"
    images = "validation" if measured.is_validated else "test"
    return f"Each curve at its best lr of {of}, chosen on the {images} images{counted}: {each}."


def _rates_of_curves(best: pd.DataFrame, by: list[str]) -> Iterator[str]:
    """`binary 0.01; complex 0.001 at depth 1, else 0.01`: one text for the curves of each colour."""
    curve, *others = sorted(by, key=lambda setting: setting != "context")
    for value in in_order(best[curve].unique().tolist()):
        rows = best[best[curve] == value] if value == value and value is not None else best[best[curve].isna()]
        common = rows["lr"].mode().iloc[0]
        unlike = rows[rows["lr"] != common]
        rare = [f"{lr:g} at {' or '.join(_places(some, others))}" for lr, some in unlike.groupby("lr", sort=True)]
        yield f"{said(curve, value)} {', '.join([*rare, f'else {common:g}' if rare else f'{common:g}'])}"


def _places(rows: pd.DataFrame, settings: Sequence[str]) -> list[str]:
    if len(settings) == 1:
        (setting,) = settings
        return [f"{name_of(setting)} {', '.join(map(text_of, values_of(rows, setting)))}".strip()]
    return [" ".join(said(setting, row[setting]) for setting in settings) for _, row in rows.iterrows()]


def tuned(measured: Measured, drawn: pd.DataFrame) -> str:
    """What a study chose for each curve by itself: `none lr 0.003; none, ewc lr 0.001, strength 1 to 10`."""
    if "tuned" not in measured.trials:
        return ""
    labels = drawn.drop_duplicates("trial_id").set_index("trial_id")["context"]
    trials = measured.trials[measured.trials["trial_id"].isin(labels.index) & measured.trials["tuned"].notna()]
    texts = []
    of = trials["trial_id"].map(labels).astype(str)
    for label in in_order(of.unique().tolist()):
        of_curve = trials[of == label]
        names = dict.fromkeys(name for text in of_curve["tuned"].unique() for name in json.loads(text))
        texts.append(f"{label} {', '.join(_said_of(name, of_curve) for name in names)}")
    return f"Tuned on validation images, with other seeds: {'; '.join(texts)}." if texts else ""


def _said_of(name: str, trials: pd.DataFrame) -> str:
    values = values_of(trials, name)
    return f"{name_of(name) or name} {' to '.join(dict.fromkeys(text_of(value) for value in (values[0], values[-1])))}"


def _missing(measured: Measured, drawn: pd.DataFrame, by: list[str]) -> str:
    """The trials that diverged: at the learning rates that are drawn, and of curves that are not drawn."""
    lost = measured.diverged
    if lost.empty:
        return ""
    is_counted = bool(drawn["trial_id"].isin(lost["trial_id"]).any())
    alive = drawn[~drawn["trial_id"].isin(lost["trial_id"])]
    each = [*by, "lr"]
    sizes = alive.groupby(each, dropna=False).size().rename("alive").reset_index()
    rows = lost.groupby(each, dropna=False).size().rename("lost").reset_index().merge(sizes, how="left", on=each)
    if not is_counted:
        curves = alive[by].drop_duplicates().assign(is_there=True)
        rows = rows.merge(curves, how="left", on=by)
        rows = rows[rows["alive"].notna() | rows["is_there"].isna()]
    rows["alive"] = rows["alive"].fillna(0).astype(int)
    texts = [
        f"{row['lost']} of {row['lost'] + row['alive']} of {', '.join(said(name, row[name]) for name in each)}"
        for _, row in rows.iterrows()
    ]
    if not texts:
        return ""
    more = f"; and {len(texts) - MOST_LISTED} more settings" if len(texts) > MOST_LISTED else ""
    how = "Diverged, counted as chance" if is_counted else "Diverged, and in no mean"
    return f"{how}: {'; '.join(texts[:MOST_LISTED])}{more}."


def _by_curve(measured: Measured, drawn: pd.DataFrame) -> str:
    """The settings that belong to the curves: `By curve: optimiser adam (batche); else rmsprop`."""
    settings = settings_shown(measured.evals)
    trials = settings_of(measured.evals, settings)
    trials = trials[trials["trial_id"].isin(drawn["trial_id"])]
    unsaid = [name for name in of_curves(trials, settings) if name not in {*measured.roles.settings, *measured.roles.x}]
    texts = ["; ".join(_values_of_curves(trials, name)) for name in unsaid]
    return f"By curve: {'. '.join(texts)}." if texts else ""


def _values_of_curves(trials: pd.DataFrame, setting: str) -> Iterator[str]:
    """`optimiser adam (batche; none, net per task)`, then `else rmsprop`."""
    curves = trials.drop_duplicates("context").set_index("context")[setting]
    common = curves.value_counts(dropna=False).index[0]
    for value in values_of(curves.reset_index(), setting):
        of = curves[curves.isna() if value is None else curves == value].index.tolist()
        if text_of(value) != text_of(common):
            yield f"{said(setting, value)} ({'; '.join(in_order(of))})"
    yield f"else {text_of(common)}"


def fixed(measured: Measured, drawn: pd.DataFrame) -> str:
    """The settings that all trials share: `All: mnist, permuting, mlp, width 256, ...`, and all that are no default."""
    settings = [*settings_shown(measured.evals), "lr"]
    setup = settings_of(measured.evals, settings)
    one = {name: setup[name].iloc[0] for name in settings if setup[name].nunique(dropna=False) == 1}
    if drawn["lr"].nunique() == 1:
        one["lr"] = drawn["lr"].iloc[0]
    for name in {*measured.where, *measured.roles.settings} - {"context"}:
        one.pop(name, None)  # the title and the panels have these
    shape = [] if one.get("model") == "lenet-300-100" else ["width", "depth"]
    texts = [
        *(text_of(one[name]) for name in ("dataset", "stream", "context", "model") if name in one),
        *(said(name, one[name]) for name in shape if name in one),
        *([f"{one['steps_per_task']:,} steps a task"] if "steps_per_task" in one else []),
        *([f"{one['batch_size']} images a step"] if "batch_size" in one else []),
        *(text_of(one[name]) for name in ("optimiser",) if name in one),
        *(said("lr", one["lr"]) for _ in range("lr" in one)),
        *(_noted(name, one[name]) for name in settings_apart(measured.trials) if name in one and name not in NAMED),
    ]
    return f"All: {', '.join(texts)}." if texts else ""


def _noted(name: str, value: object) -> str:
    if isinstance(value, bool | np.bool_):
        return name_of(name) if value else f"not {name_of(name)}"
    return said(name, value)

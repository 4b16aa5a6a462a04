"""A store's trials as the report's charts and tables show them: by which settings they are told apart and chosen."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, Final

import numpy as np
import pandas as pd

from analysis.experiments import settings_shown
from analysis.figures.base import Curves
from analysis.figures.looks import DASHES, Colour, Look
from analysis.measured import Measured
from analysis.plot import experiments, with_roles
from analysis.roles import Roles, name_of, text_of, values_of, varying
from analysis.store import StoredTrials
from analysis.tables import settings_of

SHAPES: Final = {
    "o": "M-.9,0A.9,.9,0,1,0,.9,0A.9,.9,0,1,0,-.9,0Z",
    "s": "M-.8,-.8L.8,-.8L.8,.8L-.8,.8Z",
    "^": "M0,-1L.95,.75L-.95,.75Z",
    "v": "M0,1L.95,-.75L-.95,-.75Z",
    "D": "M0,-1L1,0L0,1L-1,0Z",
    "d": "M0,-1.1L.65,0L0,1.1L-.65,0Z",
    "P": "M-.33,-1L.33,-1L.33,-.33L1,-.33L1,.33L.33,.33L.33,1L-.33,1L-.33,.33L-1,.33L-1,-.33L-.33,-.33Z",
    "X": "M-1,-.55L-.55,-1L0,-.45L.55,-1L1,-.55L.45,0L1,.55L.55,1L0,.45L-.55,1L-1,.55L-.45,0Z",
    "*": "M0,-1.1L.27,-.37L1.05,-.34L.43,.14L.65,.89L0,.46L-.65,.89L-.43,.14L-1.05,-.34L-.27,-.37Z",
    "<": "M-1,0L.75,-.95L.75,.95Z",
    ">": "M1,0L-.75,-.95L-.75,.95Z",
    "p": "M0,-1L.95,-.31L.59,.81L-.59,.81L-.95,-.31Z",
    "h": "M0,-1L.87,-.5L.87,.5L0,1L-.87,.5L-.87,-.5Z",
}
"""matplotlib's markers as paths, for Vega and for the keys; from -1 to 1."""
DARK: Final[Colour] = (0.075, 0.086, 0.106)
LIGHT: Final[Colour] = (1.0, 1.0, 1.0)
LEAST_CONTRAST: Final = 3.0  # of graphics with what is behind them (WCAG 2.2, 1.4.11)


@dataclass(frozen=True, kw_only=True)
class Facet:
    """A setting by which a reader chooses trials.

    Attributes:
        setting: its column.
        name: what the page calls the setting.
        values: its values as texts, in order.
        role: `hue`, `style`, `panel`, `apart`, `lr` or `seed`.
    """

    setting: str
    name: str
    values: list[str]
    role: str

    @property
    def is_single(self) -> bool:
        """Whether one value is shown at a time, since no chart tells its values apart."""
        return self.role in ("apart", "lr")


@dataclass(frozen=True)
class Shown:
    """A store, and how its trials are shown.

    Attributes:
        store: the trial store.
        measured: all measurements, with roles of settings; its `evals` are empty where a store has retrieval alone.
        apart: settings that no chart shows together, as for `psp plot`.
    """

    store: StoredTrials
    measured: Measured
    apart: list[str]

    @classmethod
    def of(cls, store: StoredTrials) -> "Shown":
        """Find the roles of a store's settings."""
        if store.evals.empty:
            known = store.crosstalk if len(store.crosstalk) else store.trials.assign(context=store.trials["curve"])
            apart = [name for name in ("alignment", "support") if name in known and known[name].nunique() > 1]
            return cls(store, Measured(store.evals, store.trials, roles=Roles()), apart)
        measured = with_roles(store)
        settings = settings_shown(store.evals)
        trials = settings_of(measured.evals, settings)
        hidden = set(varying(trials, settings)).difference(measured.roles.settings)
        return cls(store, measured, sorted(hidden, key=settings.index))

    @property
    def roles(self) -> Roles:
        """How settings are shown."""
        return self.measured.roles

    @cached_property
    def best(self) -> set[str]:
        """The trials of each curve's best learning rate."""
        if self.measured.evals.empty:
            return set(self.store.trials["trial_id"])
        of_experiments = (measured.best_lr["trial_id"] for _, measured in experiments(self.measured))
        return {name for names in of_experiments for name in names.unique()}

    @cached_property
    def trials(self) -> pd.DataFrame:
        """Every stored trial: its row in the store; `hue`, `style`, `panel`, and the settings `apart` as texts.

        Further columns: `series`, a number for the trials whose mean is drawn; `is_best`, whether their learning rate
        is the best. The index is the trial's number in the page.
        """
        every = [self.store.trials, *([self.store.validated.trials] if self.store.validated else [])]
        trials = pd.concat(every, ignore_index=True)
        known = self._known().set_index("trial_id")
        for role, setting in self._settings().items():
            values = trials["trial_id"].map(known[setting]) if setting in known else pd.Series(index=trials.index)
            fallback = trials["curve"] if setting == "context" else trials.get(setting)
            values = values.astype(object).where(trials["trial_id"].isin(known.index), fallback)
            trials[role] = [text_of(None if pd.isna(value) else value) for value in values]
        roles = list(self._settings())
        series = trials.groupby(roles, sort=False).ngroup() if roles else pd.Series(0, index=trials.index)
        return trials.assign(series=series, is_best=trials["trial_id"].isin(self.best))

    def _known(self) -> pd.DataFrame:
        """A row for each measured trial and each that diverged: trial_id and the settings that have roles."""
        if self.measured.evals.empty:
            frame = self.store.crosstalk
            return (
                frame.drop_duplicates("trial_id")
                if len(frame)
                else self.store.trials.assign(context=lambda t: t["curve"])
            )
        names = list(self._settings().values())
        known = settings_of(self.measured.evals, [name for name in names if name in self.measured.evals])
        lost = self.measured.diverged
        return pd.concat([known, lost[[name for name in known if name in lost]]]) if len(lost) else known

    def _settings(self) -> dict[str, str]:
        roles = self.roles
        named = {"hue": roles.hue, "style": roles.dashes, "panel": roles.panel}
        return {role: name for role, name in named.items() if name} | {name: name for name in self.apart}

    @cached_property
    def has_rates(self) -> bool:
        """Whether some curve was trained with several learning rates, of which the best is shown."""
        evals, settings = self.measured.evals, self.measured.settings
        if evals.empty or "lr" in settings:
            return False
        rates = settings_of(evals, [*settings, *self.apart, "lr"])
        of_curves = rates.groupby(list(dict.fromkeys([*settings, *self.apart])), dropna=False)["lr"].nunique()
        return bool(of_curves.max() > 1)

    @cached_property
    def facets(self) -> list[Facet]:
        """The settings that vary."""
        known = self._known()
        found = []
        for role, setting in self._settings().items():
            if setting in known:
                values = [text_of(value) for value in values_of(known, setting)]
                name = name_of(setting) or "curve"
                found.append(
                    Facet(setting=setting, name=name, values=values, role="apart" if role == setting else role)
                )
        drawn = self.trials[self.trials["trial_id"].isin(known["trial_id"])]
        if self.has_rates:
            rates = [text_of(value) for value in values_of(drawn, "lr")]
            found.append(Facet(setting="lr", name="learning rate", values=["best", *rates], role="lr"))
        seeds = [text_of(value) for value in values_of(drawn, "seed")]
        found.append(Facet(setting="seed", name="seed", values=seeds, role="seed"))
        return [facet for facet in found if len(facet.values) > 1 or facet.role == "hue"]

    @cached_property
    def looks(self) -> dict[str, Look]:
        """The look of each value that has a colour, as in the figures of `psp plot`."""
        known = self._known()
        curves = Curves(known, self.roles if self.roles.hue in known else replace(self.roles, hue="context"))
        return {text_of(value): look for value, look in curves.hues.items()}

    @cached_property
    def dashes(self) -> dict[str, tuple[float, ...]]:
        """The dashes of each value of the setting that has dashes."""
        facet = next((facet for facet in self.facets if facet.role == "style"), None)
        return {value: DASHES[place] for place, value in enumerate(facet.values)} if facet else {}

    def series_but(self, setting: str) -> list[int] | None:
        """As `series`, of trials that may differ in this setting; None where it has no role."""
        roles = self._settings()
        if setting not in roles.values():
            return None
        kept = [role for role, name in roles.items() if name != setting]
        return self.trials.groupby(kept, sort=False).ngroup().tolist() if kept else [0] * len(self.trials)

    @cached_property
    def numbers(self) -> dict[str, int]:
        """Each trial's number in the page, by its id."""
        return {name: number for number, name in enumerate(self.trials["trial_id"])}


def on_dark(colour: Colour) -> Colour:
    """The colour, with as much white as it needs to be seen on the dark page."""
    for white in np.linspace(0, 1, 21):
        lighter = tuple(float(part + (1 - part) * white) for part in colour)
        if contrast(lighter, DARK) >= LEAST_CONTRAST + 1:
            return lighter  # type: ignore[return-value]
    return LIGHT


def contrast(one: tuple[float, ...], other: tuple[float, ...]) -> float:
    """The contrast of two colours (WCAG 2.2): from 1 to 21."""
    low, high = sorted((_luminance(one), _luminance(other)))
    return (high + 0.05) / (low + 0.05)


def _luminance(colour: tuple[float, ...]) -> float:
    linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in colour]
    return float(np.dot([0.2126, 0.7152, 0.0722], linear))


def css(colour: Colour) -> str:
    """The colour as `#0173b2`."""
    return "#" + "".join(f"{round(255 * part):02x}" for part in colour)


def look_of(look: Look) -> Mapping[str, Any]:
    """A look as the page has it."""
    dash = [2.0 * length for length in look.dashes] or [1, 0]
    shape = SHAPES.get(look.marker, SHAPES["o"])
    return {"light": css(look.colour), "dark": css(on_dark(look.colour)), "dash": dash, "shape": shape}

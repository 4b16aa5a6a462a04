"""Puts stored trials beside the papers' published values, as Markdown tables."""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd

from analysis.experiments import of_curves, settings_shown, unusual
from analysis.published import QUANTITIES, SOURCES, Source, published
from analysis.roles import exact_text_of, said
from analysis.store import EVALS, StoredTrials, StoreError, on_validation, read_store
from analysis.tables import over_seeds, settings_of


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """One quantity of one published figure, and the trials that can be put beside it.

    Attributes:
        paper: the quantity's rows of `published()`.
        ours: columns TRIAL, step (optimiser steps), accuracy (a fraction). Trials have the paper's contexts and widths,
            and were measured at one of its steps at least.
        depth: our number of hidden layers.
        learned: whether our contexts were trained.
        where: the settings in which our other trials, compared apart, differ from these; with their values here.
        diverged: trials that diverged and else would be among ours: columns context, width.
    """

    paper: pd.DataFrame
    ours: pd.DataFrame
    depth: int
    learned: bool
    where: Mapping[str, Any] = field(default_factory=dict)
    diverged: pd.DataFrame = field(default_factory=pd.DataFrame)

    @property
    def name(self) -> str:
        """The published figure's name."""
        return str(self.paper["source"].iloc[0])

    @property
    def source(self) -> Source:
        """What is known of the published figure."""
        return SOURCES[self.name]

    @property
    def quantity(self) -> str:
        """The quantity that is compared."""
        return str(self.paper["quantity"].iloc[0])

    @property
    def is_as_deep(self) -> bool:
        """Whether our networks are as deep as the paper's; true for models whose depth is given."""
        depth = self.paper["depth"].iloc[0]
        return bool(np.isnan(depth) or depth == self.depth)

    @property
    def layers(self) -> str:
        """Our number of hidden layers, as a text."""
        return f"{self.depth} hidden layer{'s' if self.depth != 1 else ''}"

    @property
    def slug(self) -> str:
        """The comparison's name in file names."""
        depth = "" if self.is_as_deep else f"-depth-{self.depth}"
        trained = "-trained-contexts" if self.learned else ""
        name = re.sub(r"[^a-z0-9]+", "-", self.name.lower().replace("'", "")).strip("-")
        where = "".join(f"-{setting}={exact_text_of(value)}" for setting, value in self.where.items())
        return name + trained + depth + re.sub(r"[^\w.=+-]+", "-", where)

    @property
    def steps(self) -> list[int]:
        """The optimiser steps at which there are published values."""
        return sorted(self.paper["step"].unique())

    @property
    def step_unit(self) -> int:
        """How many optimiser steps tables and figures count as one: a task's, where all values stand at whole tasks."""
        per_task = self.source.steps_per_task
        whole = self.source.settings["num_cycles"] == 1 and not any(step % per_task for step in self.steps)
        return per_task if whole else 1

    @property
    def seeds(self) -> str:
        """How many seeds we have for each width and context, as a text."""
        number = self.ours.groupby(["width", "context"])["seed"].nunique()
        if number.min() < number.max():
            return f"{number.min()} to {number.max()} seeds"
        return "1 seed" if number.max() == 1 else f"{number.max()} seeds"

    def paper_at(self, width: int) -> pd.DataFrame:
        """The published values for this width, of contexts that we have trials of."""
        contexts = self.ours.loc[self.ours["width"] == width, "context"].unique()
        rows = self.paper[self.paper["width"].isna() | (self.paper["width"] == width)]
        return rows[rows["context"].isin(contexts)]

    def table(self) -> str:
        """Accuracies in per cent: the paper's, ours (mean over seeds with its 95% interval), and the difference."""
        heads, *rows = map(_line, (self.heads, *self.rows()))
        return "\n".join([f"### {self.title}", "", self.note, "", heads, "|" + "---|" * len(self.heads), *rows])

    @property
    def title(self) -> str:
        """What is compared, and by what count of training."""
        counted = "so many tasks" if self.step_unit > 1 else "so many steps"
        depth = "" if self.is_as_deep else f", {self.layers}"
        return f"{self.name}: {self.quantity} (%) after training {counted}{depth}"

    @property
    def note(self) -> str:
        """What both sides trained, in sentences."""
        return " ".join(self._notes())

    @property
    def heads(self) -> list[str]:
        """The heads of the table's columns; the third, of who has measured, is empty."""
        return ["width", "context", "", *(f"{step // self.step_unit:,}" for step in self.steps)]

    def _notes(self) -> Iterator[str]:
        setup = self.paper.iloc[0]
        yield (
            f"{setup['stream']} {setup['dataset']}, {self._setup_layers()}; the paper's values: "
            f"{'; '.join(self.paper['certainty'].unique())}; ours: {self.seeds}"
            + (", contexts trained during their task" if self.learned else "")
            + "".join(f", {said(setting, value)}" for setting, value in self.where.items())
            + (", mean ± half of the 95% interval." if self.seeds != "1 seed" else ".")
        )
        if self.source.note:
            yield self.source.note

    def _setup_layers(self) -> str:
        setup = self.paper.iloc[0]
        if np.isnan(setup["depth"]):
            return str(setup["model"])
        return self.layers + ("" if self.is_as_deep else f" here; {self.source.layers}")

    def rows(self) -> Iterator[list[str]]:
        """The cells of the table's rows."""
        ours = over_seeds(self.ours, ["width", "context", "step"], "accuracy")
        is_even = ours["size"].nunique() == 1
        for width in sorted(self.ours["width"].unique()):
            for context, paper in self.paper_at(width).groupby("context", sort=False):
                curve = ours[(ours["width"] == width) & (ours["context"] == context)].set_index("step")
                cells = _cells(paper.set_index("step").reindex(self.steps), curve.reindex(self.steps))
                lost = self._diverged(width, str(context))
                of = (
                    ""
                    if is_even and not lost
                    else f" (n = {_span(curve['size'])}{f'; {lost} diverged' if lost else ''})"
                )
                for who, row in cells:
                    yield [f"{width}", f"{context}", f"{who}{of if who == 'ours' else ''}", *row]

    def _diverged(self, width: int, context: str) -> int:
        """How many trials of this curve diverged."""
        lost = self.diverged
        return 0 if lost.empty else int(((lost["width"] == width) & (lost["context"] == context)).sum())


def _line(cells: Sequence[str]) -> str:
    """A row of a Markdown table."""
    return "|" + "".join(f" {cell} |" if cell else " |" for cell in cells)


def _span(sizes: "pd.Series[int]") -> str:
    return f"{sizes.min()}" if sizes.min() == sizes.max() else f"{sizes.min()} to {sizes.max()}"


def _cells(paper: pd.DataFrame, ours: pd.DataFrame) -> Iterator[tuple[str, list[str]]]:
    """The cells of three rows: the paper's, ours, the difference. Ours alone where the paper's values are not known."""
    known = paper["value"].notna().any()
    if known:
        columns = (paper[column] for column in ("value", "low", "high", "certainty"))
        yield "paper", [_paper_cell(*cell) for cell in zip(*columns, strict=True)]
    halves = (ours["high"] - ours["low"]) / 2
    yield "ours", [_cell(mean, ".1f", half) for mean, half in zip(ours["mean"], halves, strict=True)]
    if known:
        yield "difference", [_cell(difference, "+.1f") for difference in ours["mean"] - paper["value"]]


def _paper_cell(value: float, low: float, high: float, certainty: str) -> str:
    about = "~" if str(certainty).startswith("~") else ""
    band = "" if np.isnan(low) else f" ({100 * low:.1f}-{100 * high:.1f})"
    return "-" if np.isnan(value) else about + _cell(value, ".1f") + band


def _cell(value: float, form: str, half: float = np.nan) -> str:
    band = "" if np.isnan(half) else f" ± {100 * half:.1f}"
    return "-" if np.isnan(value) else format(100 * value, form) + band


def compare_store(out: str) -> list[Comparison]:
    """As `compared_with`.

    Raises:
        StoreError: no store at that place, or none of its trials has a published counterpart.
    """
    found = compared_with(read_store(out))
    if not found:
        raise StoreError(f"out={out!r} holds no trial with settings that a published value is known for.")
    return found


def compared_with(store: StoredTrials) -> list[Comparison]:
    """All published values that the store's trials can be put beside.

    Trials must have the paper's settings, but for the number of hidden layers, in which paper and code differ.
    Each number of hidden layers has its own comparison. So have trained contexts, and each value of any other setting.
    """
    return [] if store.evals.empty else list(_comparisons(store))


def _as_theirs(store: StoredTrials) -> pd.DataFrame:
    """The curves that were measured at the moments of the authors' programs, with steps numbered as theirs.

    Their programs count steps from 0 and measure after step 0 too. With 101 steps taken, they measure after step 100.
    """
    if store.curves.empty:
        return store.curves
    measured = store.trials[store.trials["eval_from"] == 1]
    curves = store.curves[store.curves["trial_id"].isin(measured["trial_id"])]
    return curves.assign(step=curves["step"] - 1)


def _comparisons(store: StoredTrials) -> Iterator[Comparison]:
    evals, curves = store.evals, _as_theirs(store)
    beside = [str(column) for column in evals if column not in EVALS]
    others = [column for column in store.trials if column not in beside]
    trials = settings_of(evals, beside).merge(store.trials[others], on="trial_id")
    trials = trials[(trials["precision"] != "bfloat16") & ~on_validation(trials)]
    for (source, quantity), paper in published().groupby(["source", "quantity"], sort=False):
        comparable = _like_the_papers(trials, paper)
        if comparable.empty:
            continue
        apart = _told_apart(comparable, settings_shown(evals))
        for values, group in comparable.groupby(["learned", "is_other_depth", "depth", *apart], dropna=False):
            ours = QUANTITIES[str(quantity)](evals[evals["trial_id"].isin(group["trial_id"])], curves)
            if "step" not in ours:
                ours = ours.assign(step=ours["tasks_seen"] * SOURCES[str(source)].steps_per_task)
            # A trial that was measured at two sets of moments counts once, at the authors' moments where it has them.
            in_part = ~ours["trial_id"].isin(curves.get("trial_id", []))
            ours = ours.iloc[np.argsort(in_part, kind="stable")].drop_duplicates(["context", "width", "seed", "step"])
            compared = ours[ours["step"].isin(paper["step"])][["context", "width"]].drop_duplicates()
            ours = ours.merge(compared, on=["context", "width"])
            if not ours.empty:
                learned, _, depth, *others = values
                alike: dict[str, Any] = {"learned": learned, "depth": depth, **dict(zip(apart, others, strict=True))}
                yield Comparison(
                    paper=paper,
                    ours=ours,
                    depth=int(alike["depth"]),
                    learned=bool(learned),
                    where={setting: alike[setting] for setting in apart},
                    diverged=_like_ours(store.diverged, paper, alike),
                )


def _told_apart(trials: pd.DataFrame, settings: list[str]) -> list[str]:
    """The settings that differ between these trials and have a comparison for each value."""
    others = [name for name in settings if name not in ("context", "width", "depth", "learned_contexts")]
    known = of_curves(trials, others)
    return [name for name in others if name not in known and trials[name].nunique(dropna=False) > 1]


def _like_ours(diverged: pd.DataFrame, paper: pd.DataFrame, alike: Mapping[str, Any]) -> pd.DataFrame:
    if diverged.empty:
        return diverged
    trials = _like_the_papers(diverged[diverged["precision"] != "bfloat16"], paper)
    for setting, value in alike.items():
        trials = trials[trials[setting].isna() if pd.isna(value) else trials[setting] == value]
    return trials


def _like_the_papers(trials: pd.DataFrame, paper: pd.DataFrame) -> pd.DataFrame:
    """The trials with a published figure's settings, and columns `learned` and `is_other_depth`."""
    settings = SOURCES[str(paper["source"].iloc[0])].settings
    trials = trials[np.logical_and.reduce([trials[setting] == value for setting, value in settings.items()])]
    setup = ["dataset", "stream", "model", "context", *(["width"] if paper["width"].notna().all() else [])]
    trials = trials.merge(paper[setup].drop_duplicates(), on=setup)
    learned = [bool(unusual(text).get("learned_contexts")) for text in trials["experiment"]]
    return trials.assign(learned=learned, is_other_depth=trials["depth"] != paper["depth"].iloc[0])

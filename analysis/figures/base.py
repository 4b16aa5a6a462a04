"""What the figures share: how contexts are coloured and how curves over seeds are drawn."""

from typing import Any, Final

import pandas as pd
import seaborn as sns
from matplotlib.figure import Figure

from analysis.tables import interval_95

CONTEXTS: Final = ["none", "binary", "complex", "one-power", "rotation"]


class UnsupportedError(Exception):
    """The stored trials do not support a figure; the message is the reason."""


def curves(frame: pd.DataFrame, x: str, y: str, **options: Any) -> sns.FacetGrid:  # noqa: ANN401
    """Mean over seeds with its 95% interval, a colour for each context, a panel for each width."""
    present = set(frame["context"])
    order = [c for c in CONTEXTS if c in present] + sorted(present - set(CONTEXTS))
    panels = frame["width"].nunique()
    defaults = {"col": "width", "col_wrap": min(panels, 4), "height": 3.4, "aspect": 1.0 if panels > 1 else 1.5}
    grid = sns.relplot(
        frame,
        x=x,
        y=y,
        hue="context",
        hue_order=order,
        palette=palette(order),
        kind="line",
        errorbar=interval_95,
        **{**defaults, **options},
    )
    grid.set_titles("width {col_name}")
    return grid


def palette(contexts: list[str]) -> dict[str, Any]:
    """A colour for each context, the same in every figure; grey for none."""
    known = [c for c in CONTEXTS if c != "none"]
    others = [c for c in contexts if c not in CONTEXTS]
    colours = sns.color_palette("colorblind", len(known) + len(others))
    return {"none": (0.45, 0.45, 0.45), **dict(zip(known + others, colours, strict=True))}


def finish(grid: sns.FacetGrid, title: str, frame: pd.DataFrame, evals: pd.DataFrame) -> Figure:
    """Title, and a line that says what the bands are."""
    bands = "; bands: 95% interval of the mean" if frame["seed"].nunique() > 1 else ", so no bands"
    grid.figure.suptitle(f"{title}\n{seeds_and_lr(frame, evals)}{bands}", fontsize=10, y=1.0, va="bottom")
    figure: Figure = grid.figure
    return figure


def seeds_and_lr(frame: pd.DataFrame, evals: pd.DataFrame) -> str:
    """How many seeds the curves have, and whether each was drawn at the best of several lr."""
    seeds = frame.groupby(["context", "width", "lr"])["seed"].nunique()
    number = str(seeds.min()) if seeds.min() == seeds.max() else f"{seeds.min()} to {seeds.max()}"
    text = "one seed" if number == "1" else f"mean of {number} seeds"
    chosen = evals["lr"].nunique() > frame["lr"].nunique() or frame["lr"].nunique() > 1
    return f"{text}; each curve at its best lr" if chosen else text

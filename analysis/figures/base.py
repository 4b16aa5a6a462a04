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


def finish(grid: sns.FacetGrid, title: str, frame: pd.DataFrame) -> Figure:
    """Title, and a line that says what the bands are."""
    seeds = frame["seed"].nunique()
    bands = f"mean of {seeds} seeds, bands: 95% interval of the mean" if seeds > 1 else "one seed, so no bands"
    if frame["lr"].nunique() > 1:
        bands += "; each curve at its best lr"
    grid.figure.suptitle(f"{title}\n{bands}", fontsize=10, y=1.0, va="bottom")
    figure: Figure = grid.figure
    return figure

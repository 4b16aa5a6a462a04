"""Lays out a figure for a page's column: panels, legend and caption, in inches and points."""

import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import matplotlib as mpl
import matplotlib.pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from analysis.figures.looks import Look

COLUMN: Final = 3.4  # inches: one of a page's two columns
PAGE: Final = 6.9  # inches: both columns
MOST_COLUMNS: Final = 4
LETTER: Final = 0.0075  # width of an average letter, in inches for each point of its size
RIGHT, BETWEEN, MARGIN = 0.08, 0.13, 0.05
CAPTION, LEGEND, TITLE = 6.5, 7.0, 8.5  # points

STYLE: Final[Mapping[str, Any]] = {
    "pdf.fonttype": 42,  # TrueType: many venues refuse Type 3
    "ps.fonttype": 42,
    "svg.fonttype": "none",  # text stays text
    "savefig.dpi": 300,
    "font.family": "sans-serif",
    "font.size": LEGEND,
    "axes.titlesize": 7.5,
    "axes.labelsize": 7.5,
    "xtick.labelsize": 7,
    "ytick.labelsize": 7,
    "legend.fontsize": LEGEND,
    "legend.title_fontsize": LEGEND,
    "figure.titlesize": TITLE,
    "lines.linewidth": 1.1,
    "lines.markersize": 3.2,
    "axes.linewidth": 0.6,
    "axes.edgecolor": "0.4",
    "axes.grid": True,
    "axes.axisbelow": True,
    "axes.titlepad": 3.5,
    "axes.labelpad": 2.5,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "grid.color": "0.9",
    "grid.linewidth": 0.5,
    "xtick.major.size": 2,
    "ytick.major.size": 2,
    "xtick.major.width": 0.6,
    "ytick.major.width": 0.6,
    "xtick.major.pad": 2,
    "ytick.major.pad": 2,
}


@dataclass(frozen=True, kw_only=True)
class Key:
    """A part of the legend: the looks of a setting's values."""

    title: str
    looks: Mapping[str, Look]
    markers: bool = True
    lines: bool = True

    def handles(self) -> list[Line2D]:
        """One for each value."""
        options: list[dict[str, Any]] = []
        for look in self.looks.values():
            points = look.points() if self.markers else {}
            options.append(look.line() | points | ({} if self.lines else {"linestyle": "none"}))
        return [Line2D([], [], **each) for each in options]


@dataclass(frozen=True, kw_only=True)
class Texts:
    """The texts around the panels."""

    title: str
    caption: str
    keys: Sequence[Key] = ()


def sheet(
    titles: Sequence[str],
    texts: Texts,
    *,
    columns: int | None = None,
    width: float | None = None,
    height: float | None = None,
    left: float = 0.48,
    right: float = RIGHT,
    below: float = 0.42,
    sharey: bool = True,
    sharex: bool = True,
) -> tuple[Figure, list[Axes]]:
    """A figure with a panel for each title. One panel is a column wide, more are a page wide, unless `width` is given.

    All sizes are computed beforehand, so matplotlib draws a figure once; to measure texts, it would draw twice.

    Args:
        titles: the panels' titles.
        texts: title, legend and caption.
        columns: the panels in a row. [default: at most four, in rows as even as possible]
        width: of the figure, in inches.
        height: of a panel, in inches.
        left: inches for the names on the vertical axis.
        right: inches beside the last panel.
        below: inches for the numbers and the name of the horizontal axis.
        sharey: whether all panels have the same vertical axis, named at the left.
        sharex: whether all panels have the same horizontal axis.
    """
    columns = columns or _columns(len(titles))
    rows = -(-len(titles) // columns)
    width = width or (COLUMN if len(titles) == 1 else PAGE)
    beside = BETWEEN if sharey else left
    wide = (width - left - right - beside * (columns - 1)) / columns
    high = height or min(0.85 * wide + 0.25, 2.0)
    heading = _wrap(texts.title, width, TITLE)
    caption = _wrap(texts.caption, width, CAPTION)
    legend = sum(_legend_inches(key, width) for key in texts.keys)
    named = any(titles)
    top = 0.06 + _lines(heading, TITLE) + (0.22 if named else 0.08)
    between = below + (0.2 if named else 0.08)
    bottom = below + legend + 0.04 + _lines(caption, CAPTION) + MARGIN
    total = top + rows * high + (rows - 1) * between + bottom
    margins = {"left": left / width, "right": 1 - right / width, "top": 1 - top / total, "bottom": bottom / total}
    margins |= {"wspace": beside / wide, "hspace": between / high}
    figure, grid = plt.subplots(
        rows, columns, figsize=(width, total), gridspec_kw=margins, sharex=sharex, sharey=sharey, squeeze=False
    )
    for axes in grid.flat[len(titles) :]:
        axes.remove()
    panels = list(grid.flat[: len(titles)])
    for axes, title in zip(panels, titles, strict=True):
        axes.set_title(title)
        axes.tick_params(labelbottom=True)  # also where the place below the panel is empty
    figure.suptitle(heading, x=MARGIN / width, y=1 - 0.05 / total, ha="left", va="top")
    _write_below(figure, texts.keys, caption, total - top - rows * high - (rows - 1) * between - below)
    return figure, panels


def _columns(panels: int) -> int:
    rows = -(-panels // MOST_COLUMNS)
    return -(-panels // rows) if panels else 1


def _write_below(figure: Figure, keys: Sequence[Key], caption: str, inches: float) -> None:
    """Write the legend, then the caption, into the lowest `inches`."""
    width, total = figure.get_size_inches()
    for key in keys:
        legend = figure.legend(
            key.handles(),
            list(key.looks),
            title=key.title or None,
            loc="upper left",
            bbox_to_anchor=(MARGIN / width, inches / total),
            ncols=_legend_columns(key, width),
            alignment="left",
            frameon=False,
            borderaxespad=0,
            borderpad=0,
            handlelength=2.4,
            handletextpad=0.5,
            columnspacing=1.0,
            labelspacing=0.25,
        )
        figure.add_artist(legend)
        inches -= _legend_inches(key, width)
    figure.text(
        MARGIN / width,
        (inches - 0.04) / total,
        caption,
        fontsize=CAPTION,
        color="0.25",
        va="top",
        linespacing=1.15,
        gid="caption",
    )


def caption_of(figure: Figure) -> str:
    """A figure's caption, in one line."""
    return " ".join(" ".join(text.get_text() for text in figure.texts if text.get_gid() == "caption").split())


def _legend_columns(key: Key, width: float) -> int:
    entry = 0.42 + LEGEND * LETTER * max(map(len, key.looks), default=1)
    return max(1, min(len(key.looks), int((width - 2 * MARGIN) / entry)))


def _legend_inches(key: Key, width: float) -> float:
    rows = -(-len(key.looks) // _legend_columns(key, width))
    return 0.06 + 0.128 * (rows + bool(key.title))


def _wrap(text: str, width: float, points: float) -> str:
    letters = int((width - 2 * MARGIN) / (points * LETTER))
    return "\n".join(part for line in text.splitlines() for part in textwrap.wrap(line, letters))


def _lines(text: str, points: float) -> float:
    """The height of a text, in inches."""
    return len(text.splitlines()) * points / 72 * 1.25


def apply_style() -> None:
    """Have matplotlib draw without a screen, in STYLE."""
    mpl.use("Agg")
    mpl.rcParams.update(dict(STYLE))  # type: ignore[arg-type]

"""Lays out a figure for a page's column: panels, legend and caption, in inches and points."""

import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from analysis.figures.looks import Look
from analysis.figures.styles import CAPTION, LEGEND, TITLE, current

LETTER: Final = 0.0075  # width of an average letter, in inches for each point of its size
LEFT, RIGHT, BETWEEN, MARGIN = 0.48, 0.08, 0.13, 0.05


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
    """The texts around the panels. A brief style shows the caption's first line alone."""

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
    left: float = LEFT,
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
        columns: the panels in a row. [default: as many as the style allows, in rows as even as possible]
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
    style = current()
    width = width or (style.column if len(titles) == 1 else style.page)
    beside = BETWEEN if sharey else left
    wide = _panel_inches(columns, width, left, right, beside)
    high = height or min(0.85 * wide + 0.25, 2.0)
    heading = _wrap(texts.title, width, TITLE) if style.has_title else ""
    caption = _wrap(texts.caption.partition("\n")[0] if style.is_brief else texts.caption, width, CAPTION)
    legend = sum(_legend_inches(key, width) for key in texts.keys)
    named = any(titles)
    top = 0.06 + _lines(heading, TITLE) + (0.22 if named else 0.08)
    between = below + (0.2 if named else 0.08)
    bottom = below + legend + 0.04 + _lines(caption, CAPTION) + MARGIN
    total = top + rows * high + (rows - 1) * between + bottom
    margins = {"left": left / width, "right": 1 - right / width, "top": 1 - top / total, "bottom": bottom / total}
    margins |= {"wspace": beside / wide, "hspace": between / high}
    figure = Figure(figsize=(width, total))
    FigureCanvasAgg(figure)  # pyplot, which keeps all figures it makes, has no part in this
    grid = figure.subplots(rows, columns, gridspec_kw=margins, sharex=sharex, sharey=sharey, squeeze=False)
    for axes in grid.flat[len(titles) :]:
        axes.remove()
    panels = list(grid.flat[: len(titles)])
    for axes, title in zip(panels, titles, strict=True):
        axes.set_title(title)
        axes.tick_params(labelbottom=True)  # also where the place below the panel is empty
    figure.suptitle(heading, x=MARGIN / width, y=1 - 0.05 / total, ha="left", va="top")
    figure.text(0, 0, texts.title, visible=False, gid="title")
    figure.text(0, 0, texts.caption, visible=False, gid="caption")
    _write_below(figure, texts.keys, caption, total - top - rows * high - (rows - 1) * between - below)
    return figure, panels


def panel_inches(panels: int) -> float:
    """How wide each of so many panels is, where all have the same vertical axis."""
    style = current()
    return _panel_inches(_columns(panels), style.column if panels == 1 else style.page, LEFT, RIGHT, BETWEEN)


def _panel_inches(columns: int, width: float, left: float, right: float, beside: float) -> float:
    return (width - left - right - beside * (columns - 1)) / columns


def _columns(panels: int) -> int:
    rows = -(-panels // current().most_columns)
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
    )


def caption_of(figure: Figure) -> str:
    """A figure's whole caption, in one line."""
    return _hidden(figure, "caption")


def title_of(figure: Figure) -> str:
    """A figure's title, in one line."""
    return _hidden(figure, "title")


def _hidden(figure: Figure, gid: str) -> str:
    return " ".join(" ".join(text.get_text() for text in figure.texts if text.get_gid() == gid).split())


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

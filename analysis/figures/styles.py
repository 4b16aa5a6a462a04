"""The styles of figures: for a page, for a paper's column, for a talk. And matplotlib's settings, which all share."""

import functools
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any, Final, ParamSpec

import matplotlib as mpl
from matplotlib.figure import Figure

from analysis.store import StoreError

CAPTION, LEGEND, TITLE = 6.5, 7.0, 8.5  # points

SETTINGS: Final[Mapping[str, Any]] = {
    "pdf.fonttype": 42,  # TrueType: many venues refuse Type 3
    "ps.fonttype": 42,
    "svg.fonttype": "none",  # text stays text
    "svg.hashsalt": "psp",  # the same figure is the same file
    "savefig.dpi": 300,
    "figure.dpi": 150,  # in a notebook
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
class Style:
    """How wide figures are, and how much they say.

    Attributes:
        column: the width of a figure of one panel, in inches.
        page: the width of a figure of several panels, in inches.
        most_columns: the panels in a row, at most.
        has_title: whether a figure has its title.
        is_brief: whether a caption has its first line alone: what is drawn, of how many seeds, and which interval.
    """

    column: float
    page: float
    most_columns: int
    has_title: bool = True
    is_brief: bool = False


STYLES: Final[Mapping[str, Style]] = {
    "page": Style(column=3.3, page=6.9, most_columns=4),
    "paper": Style(column=3.3, page=3.3, most_columns=2, has_title=False, is_brief=True),
    "talk": Style(column=3.3, page=5.6, most_columns=4, is_brief=True),
}
"""`page`: one or both columns of a paper, or a web page. `paper`: one column; title and the rest of the caption belong
into the paper's text, and into the file's metadata. `talk`: a slide is 2.4 times as wide, so 7 points become 17."""

_style: ContextVar[Style] = ContextVar("style", default=STYLES["page"])
P = ParamSpec("P")


def current() -> Style:
    """The style of the figure that is being drawn."""
    return _style.get()


def check_style(name: str) -> None:
    """Refuse an unknown style.

    Raises:
        StoreError: the name is not in STYLES.
    """
    if name not in STYLES:
        raise StoreError(f"style={name!r} is not known; use one of {', '.join(STYLES)}.")


@contextmanager
def style(name: str) -> Iterator[None]:
    """Figures that are drawn within have this style.

    Args:
        name: page, paper or talk.

    Raises:
        StoreError: another name.
    """
    check_style(name)
    token = _style.set(STYLES[name])
    try:
        yield
    finally:
        _style.reset(token)


def styled(draw: Callable[P, Figure]) -> Callable[P, Figure]:
    """The function, drawing with SETTINGS whatever matplotlib's own settings are."""

    @functools.wraps(draw)
    def drawn(*args: P.args, **options: P.kwargs) -> Figure:
        with mpl.rc_context(dict(SETTINGS)):  # type: ignore[arg-type]
            return draw(*args, **options)

    return drawn

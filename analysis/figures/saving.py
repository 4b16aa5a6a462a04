"""Writes a figure as a file: 300 dots an inch, fonts within, and its title and whole caption in the file's metadata."""

import io
from pathlib import Path
from typing import Any, Final

import matplotlib as mpl
from matplotlib.figure import Figure

from analysis.figures.layout import caption_of, title_of
from analysis.figures.styles import SETTINGS
from analysis.store import StoreError

FORMATS: Final = ("png", "svg", "pdf")


def check_format(format: str) -> list[str]:
    """The formats in a text such as `png,pdf`.

    Raises:
        StoreError: a format is not in FORMATS.
    """
    formats = list(dict.fromkeys(format.split(",")))
    for each in formats:
        if each not in FORMATS:
            raise StoreError(f"format={each!r} is not known; use one or more of {','.join(FORMATS)}.")
    return formats


def written(figure: Figure, format: str) -> bytes:
    """A figure as a file's content. The same figure is the same content.

    Args:
        figure: a figure of this package.
        format: one of FORMATS.
    """
    content = io.BytesIO()
    about = "Subject" if format == "pdf" else "Description"
    metadata: dict[str, str | None] = {"Title": title_of(figure), about: caption_of(figure)}
    metadata |= {"png": {}, "svg": {"Date": None}, "pdf": {"CreationDate": None}}[format]
    options: dict[str, Any] = {"pil_kwargs": {"compress_level": 4}} if format == "png" else {}
    with mpl.rc_context(dict(SETTINGS)):  # type: ignore[arg-type]
        figure.savefig(content, format=format, metadata=metadata, **options)
    return content.getvalue()


def save(figure: Figure, path: str | Path) -> None:
    """Write a figure; the path's ending is the format.

    Raises:
        StoreError: another ending than those of FORMATS.
    """
    (format,) = check_format(Path(path).suffix.removeprefix("."))
    Path(path).write_bytes(written(figure, format))

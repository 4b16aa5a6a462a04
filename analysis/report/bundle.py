"""Vega and Vega-Lite as one script, which a page holds within itself."""

import contextlib
import os
from importlib.metadata import version
from pathlib import Path

import vl_convert

VEGA_LITE = "6.4"


def vega() -> str:
    """The script, which sets `vegaEmbed`. Made by vl-convert, which holds Vega; needs no network.

    Making it takes seconds, so it is kept in the user's cache.
    """
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "psp"
    file = cache / f"vega-lite-{VEGA_LITE}-{version('vl-convert-python')}.js"
    with contextlib.suppress(OSError):
        return file.read_text(encoding="utf-8")
    script = vl_convert.javascript_bundle(vl_version=VEGA_LITE)  # type: ignore[call-arg]  # a snippet of one's own is no must
    with contextlib.suppress(OSError):  # a cache that cannot be written is no cache
        cache.mkdir(parents=True, exist_ok=True)
        part = file.with_suffix(f".{os.getpid()}")
        part.write_text(script, encoding="utf-8")
        part.replace(file)
    return script

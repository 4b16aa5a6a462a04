"""Versions of the program and its dependencies, and its git commit."""

import importlib.metadata
import platform
import subprocess
from pathlib import Path

from study import __version__


def provenance() -> dict[str, str]:
    """Versions by name, and the git commit."""
    versions = {name: importlib.metadata.version(name) for name in ("torch", "ray")}
    return {"psp": __version__, "python": platform.python_version(), **versions, "commit": _commit()}


def _commit() -> str:
    """The git commit, with `-dirty` where files differ from it; `unknown` outside a clone."""
    root = Path(__file__).parent.parent
    if not (root / ".git").exists():
        return "unknown"
    command = ["git", "-C", str(root), "describe", "--always", "--abbrev=40", "--dirty", "--exclude=*"]
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return "unknown"

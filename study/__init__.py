"""What is run, and where: study files, plans, Ray Tune, the trial store and the command line."""

import sys
from collections.abc import Sequence
from importlib.machinery import ModuleSpec, PathFinder
from pathlib import Path
from types import ModuleType

__version__ = "0.1.0"


class _Neighbours:
    """Finds `psp_core` and `analysis` beside this package, not in a folder of the user's that comes first."""

    @staticmethod
    def find_spec(name: str, path: Sequence[str] | None = None, target: ModuleType | None = None) -> ModuleSpec | None:
        """Their specification; None for any other module."""
        if name not in ("psp_core", "analysis"):
            return None
        return PathFinder.find_spec(name, [str(Path(__file__).parents[1])])


sys.meta_path.insert(0, _Neighbours)

"""Models in superposition: contexts, streams, packed training and metrics, in plain PyTorch."""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from psp_core.contexts import CONTEXTS, Context, get_context
    from psp_core.datasets import Dataset, load_dataset
    from psp_core.layers import SuperposedLinear
    from psp_core.models import SuperposedMLP, mlp
    from psp_core.result import TrialResult
    from psp_core.trained import TrainedModel, load_model
    from psp_core.training import train
    from psp_core.trial import Trial, TrialConfig

__all__ = [
    "CONTEXTS",
    "Context",
    "Dataset",
    "SuperposedLinear",
    "SuperposedMLP",
    "TrainedModel",
    "Trial",
    "TrialConfig",
    "TrialResult",
    "get_context",
    "load_dataset",
    "load_model",
    "mlp",
    "train",
]

_MODULES = {
    "contexts": ("CONTEXTS", "Context", "get_context"),
    "datasets": ("Dataset", "load_dataset"),
    "layers": ("SuperposedLinear",),
    "models": ("SuperposedMLP", "mlp"),
    "result": ("TrialResult",),
    "trained": ("TrainedModel", "load_model"),
    "training": ("train",),
    "trial": ("Trial", "TrialConfig"),
}


def __getattr__(name: str) -> object:
    """A public name, imported when it is asked for: torch takes seconds, and modules here do without it."""
    for module, names in _MODULES.items():
        if name in names:
            return getattr(import_module(f"psp_core.{module}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")

"""Models in superposition: contexts, streams, packed training and metrics, in plain PyTorch."""

from psp_core.contexts import CONTEXTS, Context, get_context
from psp_core.datasets import Dataset, load_dataset
from psp_core.layers import SuperposedLinear
from psp_core.models import SuperposedMLP, mlp
from psp_core.training import TrialResult, train
from psp_core.trial import TrialConfig

__all__ = [
    "CONTEXTS",
    "Context",
    "Dataset",
    "SuperposedLinear",
    "SuperposedMLP",
    "TrialConfig",
    "TrialResult",
    "get_context",
    "load_dataset",
    "mlp",
    "train",
]

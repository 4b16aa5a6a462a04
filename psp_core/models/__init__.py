"""Models by name: one line for each file of this package."""

from typing import Final

from psp_core.models.base import HEADS, Convolutional, Heads, LayerSize, Model, NetworkSize, SuperposedModel, TaskParts
from psp_core.models.lenet import LeNetModel
from psp_core.models.mlp import MLPModel, SuperposedMLP, mlp
from psp_core.models.resnet import ResNet18, ResNet18Model
from psp_core.models.resnet_50 import ResNet50, ResNet50Model
from psp_core.models.small_conv import SmallConv, SmallConvModel

MODELS: Final[dict[str, type[Model]]] = Model.known

__all__ = [
    "HEADS",
    "MODELS",
    "Convolutional",
    "Heads",
    "LayerSize",
    "LeNetModel",
    "MLPModel",
    "Model",
    "NetworkSize",
    "ResNet18",
    "ResNet18Model",
    "ResNet50",
    "ResNet50Model",
    "SmallConv",
    "SmallConvModel",
    "SuperposedMLP",
    "SuperposedModel",
    "TaskParts",
    "mlp",
]

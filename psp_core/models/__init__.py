"""Models by name: one line for each file of this package."""

from typing import Final

from psp_core.models.base import HEADS, Architecture, LayerSize, NetworkSize, SuperposedModel, TaskParts
from psp_core.models.lenet import LENET
from psp_core.models.mlp import MLP, SuperposedMLP, mlp
from psp_core.models.resnet import RESNET_18, ResNet18
from psp_core.models.resnet_50 import RESNET_50, ResNet50
from psp_core.models.small_conv import SMALL_CONV, SmallConv

MODELS: Final[dict[str, Architecture]] = {model.name: model for model in (MLP, LENET, SMALL_CONV, RESNET_18, RESNET_50)}

__all__ = [
    "HEADS",
    "MODELS",
    "Architecture",
    "LayerSize",
    "NetworkSize",
    "ResNet18",
    "ResNet50",
    "SmallConv",
    "SuperposedMLP",
    "SuperposedModel",
    "TaskParts",
    "mlp",
]

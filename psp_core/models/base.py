"""What a model is: a network of superposed layers, and what is known of it before it is built."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Final

import torch
from torch import nn

from psp_core.contexts import Context, get_context
from psp_core.convolutions import SuperposedConv2d
from psp_core.heads import TaskHeads
from psp_core.layers import SuperposedLinear
from psp_core.messages import did_you_mean
from psp_core.norms import NORMS, NormedConv2d, TaskBatchNorm

# B batch, I inputs, O outputs, K tasks

HEADS: Final = ("shared", "per-task")


class SuperposedModel(nn.Module):
    """A network in which contexts of one kind keep the tasks apart.

    `forward(x, task)` takes real inputs (B, I), images as rows of pixels, and gives real logits (B, O).
    Parameters are shared by all tasks. Buffers have the tasks first, (K, ...): contexts, heads, statistics.

    Attributes:
        context: the contexts' kind.
    """

    def __init__(self, context: Context) -> None:
        """Remember the contexts' kind."""
        super().__init__()
        self.context = context

    def superposed_layers(self) -> list[SuperposedLinear | SuperposedConv2d]:
        """The layers with weights (I, O), in the order of `Architecture.layer_sizes`; a stem's context is `none`."""
        return [module for module in self.modules() if isinstance(module, SuperposedLinear | SuperposedConv2d)]

    def bytes_per_task(self) -> int:
        """Bytes of contexts, as drawn, that one more task costs the network; heads and statistics are not counted."""
        layers = self.superposed_layers()
        signs = [layer.output_contexts.shape[1] for layer in layers if layer.output_contexts is not None]
        inputs = sum(layer.context.bytes_per_task(layer.context_size) for layer in layers)
        return inputs + sum(-(-size // 8) for size in signs)

    def bytes_once(self) -> int:
        """Bytes of contexts that all tasks share."""
        return sum(layer.context.bytes_once(layer.context_size) for layer in self.superposed_layers())

    def has_output_contexts(self) -> bool:
        """Whether its layers have contexts for their outputs too."""
        return any(layer.output_contexts is not None for layer in self.superposed_layers())

    def trained_buffers(self) -> set[str]:
        """Names, as in `named_buffers()`, of the buffers that are trained whether contexts are or not: heads."""
        heads = [(prefix, module) for prefix, module in self.named_modules() if isinstance(module, TaskHeads)]
        return {name for prefix, module in heads for name, _ in module.named_buffers(prefix=prefix)}


@dataclass(frozen=True)
class LayerSize:
    """A layer as arithmetic sees it: an (inputs x outputs) weight, applied at `positions` places.

    Attributes:
        inputs: of one place; in_channels * kh * kw for a convolution. A context has this size, or that of `channels`.
        outputs: of one place.
        positions: 1 for a linear layer, H' * W' (its output's pixels) for a convolution.
        has_context: whether it is a superposed layer.
        has_bias: whether it has `outputs` biases.
        channels: of its input; those of a linear layer are its inputs.
    """

    inputs: int
    outputs: int
    positions: int
    has_context: bool
    has_bias: bool
    channels: int


@dataclass(frozen=True, kw_only=True)
class NetworkSize:
    """How large a network is.

    Attributes:
        width: see the model.
        depth: see the model.
        image_shape: of the inputs, (C, H, W); their product is I.
        out_features: O, the logits.
    """

    width: int
    depth: int
    image_shape: tuple[int, int, int]
    out_features: int


@dataclass(frozen=True, kw_only=True)
class TaskParts:
    """What keeps a network's tasks apart, and how it is drawn.

    Attributes:
        context: the contexts' kind.
        num_tasks: K, how many contexts and heads to draw.
        heads: `shared`, one last layer with contexts, or `per-task`, one for each task without.
        norm: of convolutions: `static`, by each batch's own statistics; `per-task`, by each task's; or `affine`, by
            each task's and with trained parameters.
        seed: of weights, contexts and heads.
        device: where contexts and heads are made and kept; the weights are on the CPU until moved.
        output_contexts: whether superposed layers have contexts for their outputs too.
        channel_contexts: whether a convolution's contexts are of its input's channels.
        initial_weights: what weights and biases begin with, of `INITIAL_WEIGHTS`.
    """

    context: Context
    num_tasks: int
    seed: int
    heads: str = "shared"
    norm: str = "static"
    device: torch.device | None = None
    output_contexts: bool = False
    channel_contexts: bool = False
    initial_weights: str = "usual"

    def linear(self, in_features: int, out_features: int, index: int) -> SuperposedLinear:
        """A linear layer, the network's `index`-th."""
        return SuperposedLinear(
            in_features,
            out_features,
            self.context,
            self.num_tasks,
            seed=self.seed,
            index=index,
            device=self.device,
            output_contexts=self.output_contexts,
            initial=self.initial_weights,
        )

    def conv(self, in_channels: int, out_channels: int, kernel_size: int, index: int, stride: int = 1) -> NormedConv2d:
        """A convolution with its norm, the network's `index`-th layer.

        Raises:
            ValueError: the context is complex, or `norm` is not known.
        """
        if self.norm not in NORMS:
            raise ValueError(f"norm={self.norm!r} is not known; {did_you_mean(self.norm, NORMS)}")
        conv = SuperposedConv2d(
            in_channels,
            out_channels,
            kernel_size,
            self.context,
            self.num_tasks,
            stride=stride,
            seed=self.seed,
            index=index,
            device=self.device,
            output_contexts=self.output_contexts,
            channel_contexts=self.channel_contexts,
            initial=self.initial_weights,
        )
        if self.norm == "static":
            return NormedConv2d(conv, None)
        affine = self.norm == "affine"
        return NormedConv2d(conv, TaskBatchNorm(out_channels, self.num_tasks, device=self.device, affine=affine))

    def of_stem(self) -> "TaskParts":
        """For a ResNet's first convolution, whose kernel all tasks share as it is unless outputs have contexts too.

        Source: paper A's code, whose stem has no context (papers.md, A7), and paper B's, whose BatchE has its factors
        in every layer, as its formula says (B4).
        """
        return self if self.output_contexts else replace(self, context=get_context("none"))

    def output(self, in_features: int, out_features: int, index: int) -> SuperposedLinear | TaskHeads:
        """The network's last layer.

        Raises:
            ValueError: `heads` is not known, or there are heads for each task and a complex context.
        """
        if self.heads not in HEADS:
            raise ValueError(f"heads={self.heads!r} is not known; {did_you_mean(self.heads, HEADS)}")
        if self.heads == "shared":
            return self.linear(in_features, out_features, index)
        if self.context.is_complex:
            raise ValueError(
                f"heads='per-task' needs a context of real numbers; context={self.context.name!r} is complex. "
                "Use 'binary', or heads='shared'."
            )
        return TaskHeads(
            in_features,
            out_features,
            self.num_tasks,
            seed=self.seed,
            index=index,
            device=self.device,
            initial=self.initial_weights,
        )


@dataclass(frozen=True, kw_only=True)
class Architecture:
    """A model, as the registry holds it.

    Attributes:
        name: as settings give it.
        build: the network, its weights drawn; refuses settings that it cannot have with a ValueError.
        layer_sizes: its layers, with shared heads; with heads for each task the last one has no context.
        needs_real_context: whether it refuses complex contexts.
        has_depth: whether its number of layers can be chosen.
        has_width: whether their sizes can.
        has_norms: whether it has batch norm, so that `norm` can be chosen.
    """

    name: str
    build: Callable[[NetworkSize, TaskParts], SuperposedModel]
    layer_sizes: Callable[[NetworkSize], list[LayerSize]]
    needs_real_context: bool
    has_depth: bool = True
    has_width: bool = True
    has_norms: bool = False


def linear_size(inputs: int, outputs: int) -> LayerSize:
    """A linear layer's size."""
    return LayerSize(inputs, outputs, 1, has_context=True, has_bias=True, channels=inputs)


def conv_size(
    in_channels: int, out_channels: int, kernel_size: int, sides: Sequence[int], *, has_context: bool = True
) -> LayerSize:
    """A convolution's size, given the sides of its output."""
    height, width = sides
    inputs = in_channels * kernel_size**2
    return LayerSize(inputs, out_channels, height * width, has_context, has_bias=False, channels=in_channels)

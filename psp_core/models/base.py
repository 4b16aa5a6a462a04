"""What a model is: a network of superposed layers, and what is known of it before it is built."""

from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Final, Literal, get_args

import torch
from torch import nn

from psp_core.contexts import Context, get_context
from psp_core.convolutions import SuperposedConv2d
from psp_core.course import Course
from psp_core.datasets import Data
from psp_core.heads import TaskHeads
from psp_core.layers import SuperposedLinear
from psp_core.messages import did_you_mean
from psp_core.norms import BY_TASK, NORMS, Norm, NormedConv2d, TaskBatchNorm
from psp_core.parts import Part, setting
from psp_core.rules import at_least

# B batch, I inputs, O outputs, K tasks

Heads = Literal["shared", "per-task"]
HEADS: Final = get_args(Heads)


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
        """The layers with weights (I, O), in the order of `Model.layer_sizes`; a stem's context is `none`."""
        return [module for module in self.modules() if isinstance(module, SuperposedLinear | SuperposedConv2d)]

    def bytes_per_task(self) -> int:
        """Bytes of contexts, as drawn, that one more task costs the network; heads and statistics are not counted."""
        layers = self.superposed_layers()
        signs = [layer.output_contexts.shape[1] for layer in layers if layer.output_contexts is not None]
        inputs = sum(layer.context.bytes_per_task(layer.context_size) for layer in layers)
        return inputs + sum(-(-size // 8) for size in signs) + sum(head.bytes_per_task() for head in self._heads())

    def bytes_once(self) -> int:
        """Bytes of contexts that all tasks share."""
        return sum(layer.context.bytes_once(layer.context_size) for layer in self.superposed_layers())

    def bind_as(self, other: "SuperposedModel") -> None:
        """Give a network without contexts neutral ones of another's kind: what it computes stays as it is."""
        self.context = other.context
        for layer, like in zip(self.superposed_layers(), other.superposed_layers(), strict=True):
            if not like.context.is_trivial:
                layer.context = like.context
                layer.contexts = like.context.neutral(layer.num_tasks, layer.context_size, layer.contexts.device)

    def bind_heads_as(self, other: "SuperposedModel") -> None:
        """Give heads neutral contexts if another's have some of its units."""
        for head, like in zip(self._heads(), other._heads(), strict=True):
            if like.context:
                head.bind_as(like.context)

    def has_output_contexts(self) -> bool:
        """Whether its layers have contexts for their outputs too."""
        return any(layer.output_contexts is not None for layer in self.superposed_layers())

    def trained_buffers(self) -> set[str]:
        """Names, as in `named_buffers()`, of the buffers that are trained whether contexts are or not: heads."""
        heads = [prefix for prefix, module in self.named_modules() if isinstance(module, TaskHeads)]
        return {f"{prefix}.{name}" for prefix in heads for name in ("weight", "bias")}

    def _heads(self) -> list[TaskHeads]:
        return [module for module in self.modules() if isinstance(module, TaskHeads)]


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
    """What a network gets and gives.

    Attributes:
        image_shape: of the inputs, (C, H, W); their product is I.
        out_features: O, the logits.
    """

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
            self._context(index),
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
            self._context(index),
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

    def _context(self, index: int) -> Context:
        """The context of the network's `index`-th layer."""
        return self.context if index else self.context.of_inputs

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
            context=self.context if self.context.is_of_units else None,
            initial=self.initial_weights,
        )


class Model(Part, family="model"):
    """A network's kind, as a study chooses it.

    Attributes:
        needs_real_context: whether the network refuses complex contexts.
        convolves: whether it has convolutions, which norms belong to.
    """

    needs_real_context: ClassVar[bool] = False
    convolves: ClassVar[bool] = False

    @property
    def normalises(self) -> str | None:
        """By what statistics batches are normalised; None where no layer is."""
        return None

    @property
    def by_task(self) -> bool:
        """Whether statistics are kept of each task."""
        return self.normalises is not None and self.normalises in BY_TASK

    @abstractmethod
    def build(self, size: NetworkSize, parts: TaskParts) -> SuperposedModel:
        """The network, its weights drawn.

        Raises:
            ValueError: it cannot have such parts.
        """

    @abstractmethod
    def layer_sizes(self, size: NetworkSize) -> list[LayerSize]:
        """Its layers, with shared heads; with heads for each task the last layer has no context."""

    def hidden_sizes(self, trial: Course) -> list[LayerSize]:
        """All layers but the last, of which alone the number of outputs says something."""
        return self.layer_sizes(NetworkSize(image_shape=trial.of(Data).sizes.shape, out_features=1))[:-1]

    def leaves_one_pixel(self, trial: Course) -> bool:
        """Whether a convolution of the trial's images gives one pixel, of which an image alone has no variance."""
        return self.convolves and any(layer.positions == 1 for layer in self.hidden_sizes(trial))

    def check(self, trial: Course) -> None:
        """Refuse what the network cannot do with the trial's data set and batches.

        Raises:
            ValueError: the message names setting, value, rule and remedy.
        """


class Convolutional(Model):
    """A network with convolutions, each with a batch norm behind it."""

    needs_real_context: ClassVar[bool] = True
    convolves: ClassVar[bool] = True

    norm: Norm = setting(
        "static",
        "How convolutions are normalised: `static`, each batch by its own statistics, at test time too; `per-task`, "
        "at test time by the task's own, measured when its training ends; or `affine`, likewise, with a scale and a "
        "shift for each channel, which all tasks train and share.",
        column="norm",
    )

    @property
    def normalises(self) -> str | None:
        """By `norm`."""
        return self.norm

    def normed(self, parts: TaskParts) -> TaskParts:
        """What layers are made of, with this network's norm."""
        return replace(parts, norm=self.norm)

    def check(self, trial: Course) -> None:
        """Refuse batches of one image where the image has one pixel left, of which a channel has no variance."""
        if not self.leaves_one_pixel(trial):
            return
        least = {"batch_size": 2}
        if self.norm == "static":  # tests are cut into equal parts: of two, a batch may be left with one
            least |= {"test_batch_size": 3, "eval_samples": 2}
        for name, number in least.items():
            given = getattr(trial, name)
            if given is not None and given < number:
                raise ValueError(
                    f"{name}={given}: model={self.name!r} normalises over a batch, and has one pixel left of "
                    f"dataset={trial.of(Data).name!r}; give {number} or more."
                )


def width_setting() -> Any:  # noqa: ANN401 - an int's setting
    """The width of networks that have one to choose."""
    return setting(
        256,
        "Units of each hidden layer; of a convolutional network, channels of the first (ResNets: 64 in the papers).",
        rule=at_least(1),
        column="width",
    )


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

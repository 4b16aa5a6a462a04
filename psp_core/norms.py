"""Batch norm: by each batch's own statistics, or at test time by a task's; with trained parameters or without."""

import contextlib
from collections.abc import Iterator
from typing import Final, Literal, get_args

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from psp_core.convolutions import SuperposedConv2d

# B batch, C channels, H x W image, K tasks, N batches, E members

Norm = Literal["static", "per-task", "affine"]
NORMS: Final = get_args(Norm)
BY_TASK: Final = ("per-task", "affine")
"""Those with statistics for each task."""


def static_batch_norm(x: Tensor) -> Tensor:
    """(x - mean) / sqrt(variance + 1e-5), of each channel over this batch and its pixels: (B, C, H, W) to the same.

    No affine parameters and no running statistics: a batch's own statistics serve at test time too, so
    no task's statistics reach another task. An image's result then depends on its batch.

    Raises:
        ValueError: a channel has one number only, so that it has no variance.

    Source: the authors' code for ResNets (papers.md, A7); the paper does not mention it.
    """
    return F.batch_norm(x, None, None, training=True)


class TaskBatchNorm(nn.Module):
    """Batch norm with a mean and a variance of its own for each of K tasks.

    In training mode it is `static_batch_norm`. In evaluation mode it is (x - mean(k)) / sqrt(variance(k) + 1e-5)
    of each channel, (B, C, H, W) to the same, so that an image's result does not depend on its batch.

    An affine one multiplies the normalised channel by its `scale` and adds its `shift`, (C,) each, 1 and 0 at first.
    These are parameters, which all tasks share, as they share weights.

    The statistics are buffers with the tasks first, `mean` and `variance` (K, C), 0 and 1 until measured: at the
    end of a task, by forward passes of the finished weights (`Networks.settle`).

    Args:
        channels: C.
        num_tasks: K.
        device: where the statistics are kept.
        affine: whether it has parameters.

    Source: MultitaskNonAffineBN of paper B's code (papers.md, B4), which keeps moving averages while it trains; affine,
    where each task has a net of its own, the ordinary batch norm of its upper bound. Those averages mix statistics of
    weights that no longer exist; measured ones are exact for the weights that are stored, and no training step writes
    anything but gradients, so packs can map over it and CUDA graphs repeat it.
    """

    mean: Tensor
    variance: Tensor

    scale: Tensor | None
    shift: Tensor | None

    def __init__(
        self, channels: int, num_tasks: int, *, device: torch.device | None = None, affine: bool = False
    ) -> None:
        """Begin with means of 0 and variances of 1."""
        super().__init__()
        self.num_tasks = num_tasks
        self.register_parameter("scale", nn.Parameter(torch.ones(channels)) if affine else None)
        self.register_parameter("shift", nn.Parameter(torch.zeros(channels)) if affine else None)
        self.register_buffer("mean", torch.zeros(num_tasks, channels, device=device))
        self.register_buffer("variance", torch.ones(num_tasks, channels, device=device))

    def forward(self, x: Tensor, task: int) -> Tensor:
        """The normalised batch of task `task`.

        Raises:
            IndexError: `task` is not in 0..K-1.
        """
        if not 0 <= task < self.num_tasks:
            raise IndexError(f"task={task} must lie in 0..{self.num_tasks - 1}, the statistics of this layer.")
        y = static_batch_norm(x) if self.training else F.batch_norm(x, self.mean[task], self.variance[task])
        if self.scale is None or self.shift is None:
            return y
        return y * self.scale[:, None, None] + self.shift[:, None, None]

    def extra_repr(self) -> str:
        """Sizes, for printing."""
        return f"{self.mean.shape[1]}, num_tasks={self.num_tasks}"


class NormedConv2d(nn.Module):
    """N(conv(x)): a superposed convolution and the batch norm behind it.

    Args:
        conv: the convolution.
        norm: statistics for each task, or None for static batch norm.
    """

    def __init__(self, conv: SuperposedConv2d, norm: TaskBatchNorm | None) -> None:
        """Chain both."""
        super().__init__()
        self.conv = conv
        self.norm = norm

    def forward(self, x: Tensor, task: int) -> Tensor:
        """The normalised output for a batch of task `task`, (B, C, H, W) to (B, O, H', W')."""
        y = self.conv(x, task)
        return static_batch_norm(y) if self.norm is None else self.norm(y, task)


def measured_buffers(network: nn.Module) -> set[str]:
    """Names, as in `named_buffers()`, of the buffers that are measured at the end of a task."""
    return {f"{name}.{kind}" for name in _norms(network) for kind in ("mean", "variance")}


@contextlib.contextmanager
def watched(network: nn.Module) -> Iterator[dict[str, list[Tensor]]]:
    """While it lasts, what each `TaskBatchNorm` gets: by its name, a (2, C) for each pass, mean and variance."""
    seen: dict[str, list[Tensor]] = {}
    hooks = []
    for name, norm in _norms(network).items():
        passes = seen[name] = list[Tensor]()
        hooks.append(norm.register_forward_pre_hook(lambda _, given, into=passes: into.append(_moments(given[0]))))
    try:
        yield seen
    finally:
        for hook in hooks:
            hook.remove()


def total_moments(moments: Tensor) -> Tensor:
    """Mean and variance over everything in N batches of one size, (..., 2, C), of those of each, (N, ..., 2, C).

    The total variance is the batches' mean variance plus the variance of their means. Float64.
    """
    mean, variance = moments.double().unbind(-2)
    return torch.stack([mean.mean(0), variance.mean(0) + mean.var(0, correction=0)], dim=-2)


def _norms(network: nn.Module) -> dict[str, TaskBatchNorm]:
    return {name: module for name, module in network.named_modules() if isinstance(module, TaskBatchNorm)}


def _moments(x: Tensor) -> Tensor:
    """Mean and variance of each channel, (B, C, H, W) to (2, C)."""
    variance_C, mean_C = torch.var_mean(x.detach().to(torch.get_default_dtype()), dim=(0, 2, 3), correction=0)
    return torch.stack([mean_C, variance_C])

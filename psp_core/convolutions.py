"""The superposed convolution: the kernels of many tasks in one tensor."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from psp_core.contexts import Context
from psp_core.initial_weights import initial_kernel
from psp_core.layers import draw_output_contexts
from psp_core.randomness import generator

# B batch, C input channels, H x W image, I inputs of one filter (C * kh * kw), O output channels, K tasks


class SuperposedConv2d(nn.Module):
    """y_n = (w_n * c(k)) conv x for each output channel n, with a separate context c(k) for each of K tasks.

    The context has the shape of one filter, is shared by all output channels and multiplies the kernel, not the feature
    map. So the convolution is a superposed linear layer on every patch of the image: the weight has shape (I, O), and
    `Context.retrieve` makes task k's kernel of the weight. Output contexts, as in `SuperposedLinear`, multiply the
    kernel too: w_n * c(k) s_n(k).

    With channel contexts, c(k) has the size C instead of I, and binds the C channels of every pixel alike:
    y = w conv (c(k) x). With output contexts, this is BatchE's convolution.

    Shapes: (B, C, H, W) to (B, O, H', W'). Zeros pad kernel_size // 2 at each side, so with an odd
    kernel H' = ceil(H / stride). There is no bias: batch norm, which follows, would remove it.

    Initial weights are Kaiming normal, fan out, N(0, 2 / (O kh kw)), unless `initial` says otherwise.

    Args:
        in_channels: C, at least 1.
        out_channels: O, at least 1.
        kernel_size: kh = kw.
        context: the kind of the contexts, of real numbers. Rotations have I x I numbers for each task.
        num_tasks: K, the number of contexts to draw.
        stride: of the convolution.
        seed: of the weights and the contexts, which are drawn independently of each other.
        index: the layer's place in its network; layers of one seed differ by their index.
        device: where the contexts are made and kept; the weights are on the CPU until moved.
        output_contexts: whether each task also has a number for each output channel.
        channel_contexts: whether contexts have the size C (input channels) instead of I (a filter).
        initial: the distribution of the first weights, of `INITIAL_WEIGHTS`.

    Raises:
        ValueError: the context is complex; or output contexts are asked for, and the context is not one number for
            each input.

    Source: paper A's formula for convolutions with elementwise contexts (papers.md, A2); other real contexts follow
    from the linear layer. Initialisation as in the authors' code (A7). Channel contexts: BatchE of paper B,
    which scales the layer's input and its output (B4).
    """

    contexts: Tensor
    output_contexts: Tensor | None

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int,
        context: Context,
        num_tasks: int,
        *,
        stride: int = 1,
        seed: int,
        index: int = 0,
        device: torch.device | None = None,
        output_contexts: bool = False,
        channel_contexts: bool = False,
        initial: str = "usual",
    ) -> None:
        """Draw the weights and the contexts."""
        super().__init__()
        if context.is_complex:
            raise ValueError(
                f"convolutions need a context of real numbers; context={context.name!r} is complex. "
                "Use 'binary', or model='mlp'."
            )
        self.context, self.num_tasks, self.stride = context, num_tasks, stride
        self.filter_shape = (in_channels, kernel_size, kernel_size)
        rng = generator(seed, "weights", index)
        self.weight = nn.Parameter(
            initial_kernel(initial, out_channels, self.filter_shape, rng, is_plain=context.is_trivial)
        )
        self.context_size = in_channels if channel_contexts else len(self.weight)
        contexts = context.sample(num_tasks, self.context_size, generator(seed, "contexts", index), device)
        self.register_buffer("contexts", contexts)
        signs = draw_output_contexts(context, num_tasks, out_channels, seed, index, device) if output_contexts else None
        self.register_buffer("output_contexts", signs)

    def forward(self, x: Tensor, task: int) -> Tensor:
        """The layer's output for a batch of `task`.

        Raises:
            IndexError: `task` is not in 0..K-1.
        """
        kernel = _as_autocast_has_it(self.kernel(task))  # vmap does not cast both alike
        if kernel.is_cuda:
            kernel = channels_last(kernel)
        return F.conv2d(x.to(kernel.dtype), kernel, stride=self.stride, padding=self.filter_shape[-1] // 2)

    def kernel(self, task: int) -> Tensor:
        """The kernel of `task`, shape (O, C, kh, kw).

        Raises:
            IndexError: `task` is not in 0..K-1.
        """
        if not 0 <= task < self.num_tasks:
            raise IndexError(f"task={task} must lie in 0..{self.num_tasks - 1}, the contexts of this layer.")
        of_bound = self.weight.reshape(self.context_size, -1)  # a row for each number that a context binds
        weight = self.context.retrieve(of_bound, self.contexts[task]).reshape_as(self.weight)
        if self.output_contexts is not None:
            weight = weight * self.output_contexts[task]
        return weight.mT.reshape(-1, *self.filter_shape)

    def extra_repr(self) -> str:
        """Sizes and context, for printing."""
        shape = f"{self.filter_shape[0]}, {self.weight.shape[1]}, kernel_size={self.filter_shape[1]}"
        return f"{shape}, stride={self.stride}, context={self.context.name}, num_tasks={self.num_tasks}"


def channels_last(kernel: Tensor) -> Tensor:
    """The same kernel, (O, C, kh, kw), with the channels last in memory, as a GPU's fast products read them.

    The convolution takes this order over, for its input and its output, and norms, poolings and sums keep it: so only
    the first convolution of a network copies its input. The kernel, (I, O) in memory, is copied in any case.
    """
    return kernel.permute(0, 2, 3, 1).contiguous().permute(0, 3, 1, 2)  # vmap knows no memory_format


def _as_autocast_has_it(kernel: Tensor) -> Tensor:
    """The kernel in autocast's type, so that inputs which have it already stay as they are; float64 is left alone."""
    device = kernel.device.type
    is_cast = torch.amp.is_autocast_available(device) and torch.is_autocast_enabled(device)  # "meta" has no autocast
    if kernel.dtype == torch.float64 or not is_cast:
        return kernel
    return kernel.to(torch.get_autocast_dtype(device))

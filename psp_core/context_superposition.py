"""All of a network's contexts at once, and which of them an objective would have more of."""

from collections.abc import Callable

import torch
from torch import Tensor
from torch.func import grad, vmap

from psp_core.supermasks.objectives import Objective
from psp_core.supermasks.superposition import CHUNK_BYTES

# A questions, each about one batch, B images, I inputs, O outputs, K tasks stored, m of them asked about

Tensors = dict[str, Tensor]
MixedNetwork = Callable[[Tensors, Tensor], Tensor]
"""Logits (B, O) of inputs (B, I), given each layer's context by name."""
OwnNetwork = Callable[[int, Tensor], Tensor]
"""Logits (B, O) of inputs (B, I), given the task."""


class ContextSuperposition:
    """p(alpha) = f(x; W, sum_i alpha_i c_i): a network with a mix of its tasks' contexts in every layer.

    Paper B's trick for paper A's networks. One forward and one backward pass give dF/dalpha_i of an objective F for
    every task: it depends on alpha through each layer's mix c alone, and dF/dalpha_i = sum over layers of <dF/dc, c_i>.

    At alpha_i = 1 / K, contexts whose numbers have mean 0 mix to 1 / sqrt(K) of their size, and the logits shrink with
    them. A mix of full size, sum_i c_i / sqrt(K), was seen to find fewer tasks. Nearly all that is known of the task
    stands in the first layer, which alone sees the task's images: later ones see what the mix has made of them, and
    prefer a few tasks whatever the batch. `first_layer_only` leaves their parts of the sum out (docs/log.md).

    A mix has the statistics of no task: where layers are normalised, the question's images are their own batch.

    Args:
        mixed: the network with the weights that all tasks share and any contexts.
        own: the network of one task, with all that is its own.
        contexts: by name, `layer.buffer`, the first layer's first, (K, ...) each; they must be mixable (see `Context`).
        objective: F, of `OBJECTIVES`.
        num_real: how many of the outputs are classes.
        first_layer_only: whether alpha is that of the first layer with contexts alone, while the others' stays.
        questions_at_once: how many are answered together; None for what caches or devices hold, which
            counts a layer's activations as one for each input.

    Source: ours; the gradients as in "Task inference" of paper B (papers.md, B4), which has masks.
    """

    def __init__(
        self,
        mixed: MixedNetwork,
        own: OwnNetwork,
        contexts: Tensors,
        objective: Objective,
        num_real: int,
        *,
        first_layer_only: bool = False,
        questions_at_once: int | None = None,
    ) -> None:
        """Remember all of them."""
        self.mixed = mixed
        self.own = own
        self.contexts = contexts
        self.objective = objective
        self.num_real = num_real
        first = _layer(next(iter(contexts)))
        self._asked = [name for name in contexts if not first_layer_only or _layer(name) == first]
        self._questions_at_once = questions_at_once

    def __len__(self) -> int:
        """K, the number of tasks."""
        return len(next(iter(self.contexts.values())))

    @torch.no_grad()
    def gradient(self, x: Tensor, alpha: Tensor | None = None, tasks: Tensor | None = None) -> Tensor:
        """dF/dalpha at alpha.

        Args:
            x: (..., B, I); each batch is a question of its own. Many at once cost less than one by one.
            alpha: (m,), the same for all questions, or (..., m); None for 1 / K each of all K tasks.
            tasks: the numbers of the m tasks that alpha is about, (m,), all others having 0; None for all K.

        Returns:
            Shape (..., m).
        """
        contexts = {name: rows if tasks is None else rows[tasks] for name, rows in self.contexts.items()}
        alpha = x.new_full((len(self),), 1 / len(self)) if alpha is None else alpha
        x_ABI = x.reshape(-1, *x.shape[-2:])
        at_once = self._at_once(x_ABI)
        chunks = torch.split(x_ABI, at_once)
        alphas = [alpha] * len(chunks) if alpha.dim() == 1 else torch.split(alpha.reshape(len(x_ABI), -1), at_once)
        parts = [self._gradient(contexts, some, a) for some, a in zip(chunks, alphas, strict=True)]
        return torch.cat(parts).view(*x.shape[:-2], -1)

    @torch.no_grad()
    def value(self, x: Tensor, task: int) -> Tensor:
        """F of one task's own network, for batches (..., B, I): shape (...)."""
        x_ABI = x.reshape(-1, *x.shape[-2:])
        chunks = torch.split(x_ABI, self._at_once(x_ABI))
        parts = [vmap(lambda x_BI: self.objective(self.own(task, x_BI), self.num_real))(some) for some in chunks]
        return torch.cat(parts).view(x.shape[:-2])

    def _at_once(self, x_ABI: Tensor) -> int:
        if self._questions_at_once is not None:
            return self._questions_at_once
        num_images = x_ABI.shape[1]
        floats = sum(c[0].numel() + 8 * num_images * c.shape[-1] for c in self.contexts.values())
        return max(1, CHUNK_BYTES[x_ABI.device.type] // (4 * floats))

    def _gradient(self, contexts: Tensors, x_ABI: Tensor, alpha: Tensor) -> Tensor:
        """dF/dalpha (A, m) of some questions, at one alpha (m,) or one for each, (A, m)."""
        mix = {name: torch.tensordot(alpha, rows, 1) for name, rows in contexts.items()}
        asked = {name: mix.pop(name) for name in self._asked}

        def value(asked: Tensors, others: Tensors, x_BI: Tensor) -> Tensor:
            return self.objective(self.mixed({**asked, **others}, x_BI), self.num_real)

        of_mix = None if alpha.dim() == 1 else 0
        gradients = vmap(grad(value), in_dims=(of_mix, of_mix, 0))(asked, mix, x_ABI)
        products = [gradient.flatten(1) @ contexts[name].flatten(1).mT for name, gradient in gradients.items()]
        return torch.stack(products).sum(0)


def _layer(name: str) -> str:
    return name.rpartition(".")[0]

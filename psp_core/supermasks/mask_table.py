"""The masks of many tasks, as bits, and sums over masks without unpacking all of them at once."""

from collections.abc import Iterator, Sequence
from math import prod
from typing import Any, Final, NamedTuple

import torch
from torch import Tensor

from psp_core.supermasks.bits import bit_bytes, csc_size, packed, unpacked

# K tasks stored, m of them in a query, I inputs, O outputs, N = I * O weights, C = ceil(N / 8) bytes of a layer

CHUNK: Final = {"cpu": 2**19, "cuda": 2**24}
"""Weights unpacked at once, at 5 bytes each: as many as caches hold, or as keep a GPU busy."""


class Piece(NamedTuple):
    """Some weights of some masks: `place` * M as floats (m, ...), with their tasks and weights."""

    tasks: slice
    weights: slice
    values: Tensor
    place: int


class MaskTable:
    """The masks of up to `capacity` tasks of one network, a bit for each weight, appended task by task.

    Memory: C bytes per layer and task, and 4 bytes per weight for the sum of all masks. The sum gives the uniform
    combination without a pass over the masks. Passes over masks unpack `CHUNK` weights at a time: 3 MB on a CPU.

    Args:
        shapes: each layer's (I, O).
        capacity: the largest K. Memory is reserved for K masks; a CPU takes it only as it is written.
        device: where masks and sums are kept.
    """

    def __init__(
        self, shapes: Sequence[tuple[int, int]], capacity: int, device: torch.device | str | None = None
    ) -> None:
        """Begin without masks."""
        self.shapes = list(shapes)
        self.capacity = capacity
        self.sizes = [prod(shape) for shape in self.shapes]
        self.bytes_per_task = sum(map(bit_bytes, self.sizes))
        self._bits = torch.empty(capacity, self.bytes_per_task, dtype=torch.uint8, device=device)
        self._sums = [torch.zeros(shape, device=device) for shape in self.shapes]
        self._num_tasks = 0

    def __len__(self) -> int:
        """K, the number of masks stored."""
        return self._num_tasks

    @property
    def num_bytes(self) -> int:
        """Bytes of the masks stored: K times `bytes_per_task`."""
        return len(self) * self.bytes_per_task

    @property
    def csc_bytes(self) -> int:
        """Bytes of the stored masks as the paper counts them: `bits.csc_bytes` of each layer and task.

        Raises:
            ValueError: a layer has more inputs than 16 bits can number.
        """
        layers = zip(self._sums, self.shapes, strict=True)
        return sum(csc_size(int(ones.sum(dtype=torch.float64)), shape, len(self)) for ones, shape in layers)

    @property
    def device(self) -> torch.device:
        """Where masks and sums are kept."""
        return self._bits.device

    def append(self, masks: Sequence[Tensor], bits: Tensor | None = None) -> int:
        """Store the next task's masks, one (I, O) for each layer, and return the task's number.

        Args:
            masks: zeros and ones.
            bits: the same as `layers_packed` gives them, if they are known.

        Raises:
            ValueError: the table is full, or a mask's shape differs from its layer's.
        """
        if len(self) == self.capacity:
            raise ValueError(f"capacity={self.capacity} masks are stored already: make the table larger.")
        if (given := [tuple(mask.shape) for mask in masks]) != [tuple(shape) for shape in self.shapes]:
            raise ValueError(f"masks of shapes {given} do not fit layers of shapes {self.shapes}.")
        self._bits[len(self)] = layers_packed(masks) if bits is None else bits
        for total, mask in zip(self._sums, masks, strict=True):
            total += mask != 0
        self._num_tasks += 1
        return len(self) - 1

    def replace(self, task: int, masks: Sequence[Tensor], bits: Tensor | None = None) -> None:
        """Replace a task's masks; `bits` as for `append`.

        Raises:
            IndexError: no task of that number is stored.
        """
        for total, mask, before in zip(self._sums, masks, self.mask(task), strict=True):
            total.add_(mask != 0).sub_(before)
        self._bits[task] = layers_packed(masks) if bits is None else bits

    def mask(self, task: int) -> list[Tensor]:
        """One task's masks, float, (I, O) each.

        Raises:
            IndexError: no task of that number is stored.
        """
        return self.unpack(self.bits(task))

    def bits(self, task: int) -> Tensor:
        """One task's masks as bits, uint8, of all layers.

        Raises:
            IndexError: no task of that number is stored.
        """
        if not 0 <= task < len(self):
            raise IndexError(f"task={task} must lie in 0..{len(self) - 1}, the masks that are stored.")
        return self._bits[task]

    def unpack(self, bits: Tensor) -> list[Tensor]:
        """Masks of what `bits` gave, of this table or others of its shapes: (..., C) to float (..., I, O) each."""
        parts = torch.split(bits, [bit_bytes(size) for size in self.sizes], dim=-1)
        return [unpacked(part, shape) for part, shape in zip(parts, self.shapes, strict=True)]

    def mean(self) -> list[Tensor]:
        """sum_i M^i / K, (I, O) for each layer: the uniform combination of all masks stored."""
        return [total / len(self) for total in self._sums]

    def combination(self, alpha: Tensor, tasks: Tensor | None = None) -> list[Tensor]:
        """sum_i alpha_i M^i of each layer.

        Args:
            alpha: (..., m), a coefficient for each task.
            tasks: the tasks of alpha, int64 (m,); None for all K in order.

        Returns:
            A tensor (..., I, O) for each layer.
        """
        alpha_Am = alpha.reshape(-1, alpha.shape[-1])
        self._check_tasks(alpha_Am.shape[1], tasks)
        sums = []
        for layer, shape in enumerate(self.shapes):
            sum_AN = alpha_Am.new_zeros(len(alpha_Am), self.sizes[layer])
            for piece in self._pieces(layer, tasks):
                into = sum_AN[:, piece.weights]
                into.addmm_(alpha_Am[:, piece.tasks], piece.values, alpha=1 / piece.place)
            sums.append(sum_AN.view(*alpha.shape[:-1], *shape))
        return sums

    def inner_products(self, tensors: Sequence[Tensor], tasks: Tensor | None = None) -> Tensor:
        """<T, M^i> summed over layers, for each task i.

        Args:
            tensors: T, (..., I, O) for each layer. Many T in one call cost much less than one call each.
            tasks: the tasks i, int64 (m,); None for all K in order.

        Returns:
            Shape (..., m).
        """
        leading = tensors[0].shape[:-2]
        num_tasks = len(self) if tasks is None else len(tasks)
        products_Am = tensors[0].new_zeros(prod(leading), num_tasks)
        for layer, tensor in enumerate(tensors):
            tensor_AN = tensor.reshape(len(products_Am), -1)
            for piece in self._pieces(layer, tasks):
                into = products_Am[:, piece.tasks]
                into.addmm_(tensor_AN[:, piece.weights], piece.values.T, alpha=1 / piece.place)
        return products_Am.view(*leading, num_tasks)

    def state_dict(self) -> dict[str, Any]:
        """The stored masks, as bits."""
        return {"bits": self._bits[: len(self)]}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Replace all masks by those of a `state_dict`.

        Raises:
            ValueError: the masks are of another network, or more than the capacity.
        """
        bits = state["bits"]
        if bits.shape[1] != self.bytes_per_task or len(bits) > self.capacity:
            raise ValueError(
                f"masks of shape {tuple(bits.shape)} do not fit a table of {self.capacity} masks of "
                f"{self.bytes_per_task} bytes: make it for the same layers, and large enough."
            )
        self._bits[: len(bits)] = bits
        self._num_tasks = len(bits)
        ones = torch.ones(len(self), device=self.device)
        self._sums = self.combination(ones)

    def _check_tasks(self, num_given: int, tasks: Tensor | None) -> None:
        expected = len(self) if tasks is None else len(tasks)
        if num_given != expected:
            raise ValueError(f"alpha has {num_given} coefficients for {expected} tasks: give one for each.")

    def _pieces(self, layer: int, tasks: Tensor | None) -> Iterator[Piece]:
        """All weights of a layer's masks, piece by piece; a piece is overwritten when the next one is taken."""
        first_byte = sum(map(bit_bytes, self.sizes[:layer]))
        size, num_bytes = self.sizes[layer], bit_bytes(self.sizes[layer])
        num_tasks = len(self) if tasks is None else len(tasks)
        limit = CHUNK[self.device.type]
        columns = min(num_bytes, max(1, limit // 64))
        rows = max(1, min(num_tasks, limit // columns))
        masked = torch.empty(rows * columns, dtype=torch.uint8, device=self.device)
        values = torch.empty(rows * columns, device=self.device)
        for start in range(0, num_bytes, columns):
            width = min(columns, num_bytes - start)
            column = slice(first_byte + start, first_byte + start + width)
            for row in range(0, num_tasks, rows):
                some = slice(row, min(row + rows, num_tasks))
                bits = self._bits[some, column] if tasks is None else self._bits[tasks[some], column]
                for place in range(8):
                    # Bits are not shifted down: the values are 0 or 2^place, and users scale their product instead.
                    torch.bitwise_and(bits, 1 << place, out=masked[: bits.numel()].view(bits.shape))
                    floats = values[: bits.numel()].copy_(masked[: bits.numel()]).view(bits.shape)
                    first = place * num_bytes + start
                    last = min(first + width, size)
                    if first < last:
                        yield Piece(some, slice(first, last), floats[:, : last - first], 1 << place)


def layers_packed(masks: Sequence[Tensor]) -> Tensor:
    """The bits of masks (..., I, O), one for each layer: uint8 (..., C)."""
    return torch.cat([packed(mask.flatten(-2)) for mask in masks], dim=-1)

"""What every context and every stream must do: a new one inherits its contract and adds its own facts."""

from typing import ClassVar

import pytest
import torch
from torch import Tensor

from psp_core.contexts import CONTEXTS, Context
from psp_core.layers import SuperposedLinear
from psp_core.randomness import generator
from psp_core.streams import Stream

SIZE = 24
SEED = 11


def rng(index: int = 0) -> torch.Generator:
    return generator(SEED, "test", index)


class ContextContract:
    """Inherit, and name the context."""

    context: ClassVar[Context]

    def inputs(self, size: int = SIZE) -> Tensor:
        shape = (5, 2, size) if self.context.is_complex else (5, size)
        return torch.randn(shape, generator=rng(1))

    def test_is_registered_under_its_name(self) -> None:
        assert CONTEXTS[self.context.name] == self.context

    def test_unbind_inverts_bind(self) -> None:
        x = self.inputs()
        for context in self.context.sample(3, SIZE, rng()):
            torch.testing.assert_close(self.context.unbind(self.context.bind(x, context), context), x)

    def test_bind_keeps_lengths(self) -> None:
        x = self.inputs()
        for context in self.context.sample(3, SIZE, rng()):
            torch.testing.assert_close(self.context.bind(x, context).norm(), x.norm())

    def test_task_k_does_not_depend_on_the_number_of_tasks(self) -> None:
        few, many = (self.context.sample(num_tasks, SIZE, rng()) for num_tasks in (3, 7))
        assert torch.equal(few, many[:3])

    def test_is_drawn_from_the_generator_alone(self) -> None:
        assert torch.equal(self.context.sample(2, SIZE, rng()), self.context.sample(2, SIZE, rng()))
        if self.context.name != "none":
            assert not torch.equal(self.context.sample(2, SIZE, rng()), self.context.sample(2, SIZE, rng(1)))

    def test_tasks_differ(self) -> None:
        if self.context.name == "none":
            pytest.skip("tasks share the same weights on purpose")
        first, second = self.context.sample(2, SIZE, rng())
        assert not torch.allclose(first, second)

    def test_one_stored_task_is_retrieved_exactly(self) -> None:
        """The plain layer's weights, stored under c(k), give the plain layer's output back."""
        plain = SuperposedLinear(SIZE, 4, CONTEXTS["none"], 1, seed=SEED)
        layer = SuperposedLinear(SIZE, 4, self.context, 3, seed=SEED)
        x = torch.randn(5, SIZE, generator=rng(2))
        with torch.no_grad():
            if self.context.is_complex:  # W conj(c), real and imaginary parts apart
                stored = self.context.unbind(
                    torch.stack([plain.weight.T, torch.zeros(4, SIZE)], dim=1), layer.contexts[1]
                )
                layer.weight.copy_(stored.permute(2, 1, 0))
                given = layer(torch.stack([x, torch.zeros_like(x)], dim=1), task=1)[:, 0]
            else:  # W C^-1 as a row acts on: bind each output's weights
                layer.weight.copy_(self.context.bind(plain.weight.T, layer.contexts[1]).T)
                given = layer(x, task=1)
        torch.testing.assert_close(given, plain(x, task=0))

    def test_more_inputs_never_cost_fewer_bytes(self) -> None:
        small, large = self.context.bytes_per_task(8), self.context.bytes_per_task(64)
        assert 0 <= small <= large


class StreamContract:
    """Inherit, and make the stream."""

    num_inputs = 16

    def make(self, seed: int) -> Stream:
        raise NotImplementedError

    def test_a_task_depends_on_seed_and_task_alone(self) -> None:
        forwards = [self.make(3).describe(task) for task in range(4)]
        backwards = [self.make(3).describe(task) for task in reversed(range(4))]
        for one, other in zip(forwards, reversed(backwards), strict=True):
            assert torch.equal(one, other)
        assert not torch.equal(self.make(3).describe(1), self.make(4).describe(1))
        assert not torch.equal(self.make(3).describe(1), self.make(3).describe(2))

    def test_members_do_not_see_each_other(self) -> None:
        streams = [self.make(seed) for seed in range(3)]
        images = torch.randint(256, (3, 5, self.num_inputs), generator=rng()).to(torch.uint8)
        together = streams[0].apply(images, torch.stack([stream.describe(2) for stream in streams]))
        for e, stream in enumerate(streams):
            alone = stream.apply(images[e : e + 1], stream.describe(2)[None])
            assert torch.equal(together[e : e + 1], alone)

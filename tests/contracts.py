"""What every context and every stream must do: a new one inherits its contract and adds its own facts."""

from typing import ClassVar

import pytest
import torch
from torch import Tensor

from psp_core.contexts import CONTEXTS, Context
from psp_core.layers import SuperposedLinear
from psp_core.randomness import generator
from psp_core.streams import STREAMS, Stream

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

    def skip_unless_orthogonal(self) -> None:
        if not self.context.is_orthogonal:
            pytest.skip("holds for orthogonal contexts")

    def test_unbind_inverts_bind(self) -> None:
        self.skip_unless_orthogonal()
        x = self.inputs()
        for context in self.context.sample(3, SIZE, rng()):
            torch.testing.assert_close(self.context.unbind(self.context.bind(x, context), context), x)

    def test_unbind_is_the_adjoint_of_bind(self) -> None:
        """What carries gradients back through bind: <bind x, y> = <x, unbind y>."""
        x, y = self.inputs(), self.inputs().flip(0)
        for context in self.context.sample(3, SIZE, rng()):
            left, right = (self.context.bind(x, context) * y).sum(), (x * self.context.unbind(y, context)).sum()
            torch.testing.assert_close(left, right)

    def test_members_are_bound_each_with_its_own_context(self) -> None:
        x = torch.stack([self.inputs(), self.inputs().flip(0)])
        contexts = self.context.sample(2, SIZE, rng())
        for apply in (self.context.bind, self.context.unbind):
            alone = [apply(x[e], contexts[e]) for e in range(2)]
            torch.testing.assert_close(apply(x, contexts), torch.stack(alone))

    def test_members_of_a_vmap_are_bound_as_they_are_alone(self) -> None:
        x = torch.stack([self.inputs(), self.inputs().flip(0)])
        contexts = self.context.sample(2, SIZE, rng())
        for apply in (self.context.bind, self.context.unbind):
            torch.testing.assert_close(torch.func.vmap(apply)(x, contexts), apply(x, contexts))

    def test_gradients_go_back_through_unbind(self) -> None:
        x, (context,) = self.inputs().requires_grad_(), self.context.sample(1, SIZE, rng())
        g = self.inputs().flip(0)
        self.context.bind(x, context).backward(g)
        torch.testing.assert_close(x.grad, self.context.unbind(g, context))

    def test_it_is_mixable_where_bind_is_linear_in_the_context(self) -> None:
        """bind(x, a c + b d) = a bind(x, c) + b bind(x, d); where tasks share one context there is nothing to mix."""
        x, (first, second) = self.inputs(), self.context.sample(2, SIZE, rng())
        mixed = self.context.bind(x, 0.3 * first + 0.41 * second)
        linear = 0.3 * self.context.bind(x, first) + 0.41 * self.context.bind(x, second)
        assert torch.allclose(mixed, linear, atol=1e-5) == self.context.is_mixable

    def test_retrieved_weights_answer_as_bound_inputs_do(self) -> None:
        weights, x = SuperposedLinear(SIZE, 4, self.context, 1, seed=SEED).weight.detach(), self.inputs()
        (context,) = self.context.sample(1, SIZE, rng())
        retrieved, bound = self.context.retrieve(weights, context), self.context.bind(x, context)
        if self.context.is_complex:
            weights, x, retrieved, bound = (torch.complex(*v.unbind(1)) for v in (weights, x, retrieved, bound))
        torch.testing.assert_close(x @ retrieved, bound @ weights)

    def test_stored_weights_are_retrieved_again(self) -> None:
        self.skip_unless_orthogonal()
        weights = SuperposedLinear(SIZE, 4, self.context, 1, seed=SEED).weight.detach()
        for context in self.context.sample(3, SIZE, rng()):
            stored = self.context.store(weights, context)
            torch.testing.assert_close(self.context.retrieve(stored, context), weights)

    def test_has_the_shape_it_says(self) -> None:
        assert self.context.sample(3, SIZE, rng()).shape == (3, *self.context.shape(SIZE))

    def test_bind_keeps_lengths(self) -> None:
        self.skip_unless_orthogonal()
        x = self.inputs()
        for context in self.context.sample(3, SIZE, rng()):
            torch.testing.assert_close(self.context.bind(x, context).norm(), x.norm())

    def test_task_k_does_not_depend_on_the_number_of_tasks(self) -> None:
        few, many = (self.context.sample(num_tasks, SIZE, rng()) for num_tasks in (3, 7))
        assert torch.equal(few, many[:3])

    def test_is_drawn_from_the_generator_alone(self) -> None:
        assert torch.equal(self.context.sample(2, SIZE, rng()), self.context.sample(2, SIZE, rng()))
        if not self.context.is_trivial:
            assert not torch.equal(self.context.sample(2, SIZE, rng()), self.context.sample(2, SIZE, rng(1)))

    def test_tasks_differ(self) -> None:
        if self.context.is_trivial:
            pytest.skip("tasks share the same weights on purpose")
        first, second = self.context.sample(2, SIZE, rng())
        assert not torch.allclose(first, second)

    def test_there_are_as_many_different_contexts_as_it_says(self) -> None:
        most = self.context.max_tasks(SIZE)
        if most is None:
            pytest.skip("has no limit")
        contexts = self.context.sample(most, SIZE, rng()).flatten(1)
        distances = torch.cdist(contexts, contexts).fill_diagonal_(torch.inf)
        assert distances.min() > 0.1
        message = rf"context='{self.context.name}' has {most} different rows for {SIZE} inputs; {most + 1} tasks need"
        with pytest.raises(ValueError, match=message):
            self.context.sample(most + 1, SIZE, rng())

    def test_one_stored_task_is_retrieved_exactly(self) -> None:
        """The plain layer's weights, stored under c(k), give the plain layer's output back."""
        self.skip_unless_orthogonal()
        plain = SuperposedLinear(SIZE, 4, CONTEXTS["none"], 1, seed=SEED)
        layer = SuperposedLinear(SIZE, 4, self.context, 3, seed=SEED)
        x = torch.randn(5, SIZE, generator=rng(2))
        with torch.no_grad():
            if self.context.is_complex:
                real = torch.stack([plain.weight, torch.zeros(SIZE, 4)], dim=1)
                layer.weight.copy_(self.context.store(real, layer.contexts[1]))
                given = layer(torch.stack([x, torch.zeros_like(x)], dim=1), task=1)[:, 0]
            else:
                layer.weight.copy_(self.context.store(plain.weight, layer.contexts[1]))
                given = layer(x, task=1)
        torch.testing.assert_close(given, plain(x, task=0))

    def test_more_inputs_never_cost_fewer_bytes(self) -> None:
        small, large = self.context.bytes_per_task(8), self.context.bytes_per_task(64)
        assert 0 <= small <= large


class StreamContract:
    """Inherit, and make the stream; its images are 4x4."""

    num_inputs = 16
    is_random = True

    def make(self, seed: int) -> Stream:
        raise NotImplementedError

    def test_a_task_depends_on_seed_and_task_alone(self) -> None:
        forwards = [self.make(3).describe(task) for task in range(4)]
        backwards = [self.make(3).describe(task) for task in reversed(range(4))]
        for one, other in zip(forwards, reversed(backwards), strict=True):
            assert torch.equal(one, other)
        assert torch.equal(self.make(3).describe(1), self.make(4).describe(1)) != self.is_random
        assert not torch.equal(self.make(3).describe(1), self.make(3).describe(2))

    def test_is_registered_under_its_name(self) -> None:
        stream = self.make(0)
        assert STREAMS[stream.name] is type(stream)

    def test_only_a_continuous_stream_changes_within_a_task(self) -> None:
        stream = self.make(3)
        assert torch.equal(stream.describe(1), stream.describe(1, 0.0))
        assert torch.equal(stream.describe(1), stream.describe(1, 0.5)) != stream.is_continuous

    def test_labels_are_the_places_of_a_task_s_classes(self) -> None:
        stream, task = self.make(3), 1
        classes = stream.classes(task)
        classes = torch.arange(10) if classes is None else classes
        labels = classes[torch.randint(len(classes), (1, 20), generator=rng())]
        relabelled = stream.relabel(labels, stream.describe(task)[None])
        assert torch.equal(classes[relabelled], labels)

    def test_weights_that_are_pulled_back_see_the_task_in_the_data_sets_images(self) -> None:
        stream, images = self.make(3), torch.randn(1, 5, self.num_inputs, generator=rng())
        weights = torch.randn(2, self.num_inputs, 4, generator=rng(1))
        descriptions = torch.stack([stream.describe(task) for task in (2, 1)])
        pulled_back = stream.pull_back(weights, descriptions)
        if pulled_back is None:
            pytest.skip("the tasks of this stream are not linear in the pixels")
        expected = stream.apply(images.expand(2, -1, -1), descriptions) @ weights
        torch.testing.assert_close(images @ pulled_back, expected)

    def test_members_do_not_see_each_other(self) -> None:
        streams = [self.make(seed) for seed in range(3)]
        images = torch.randint(256, (3, 5, self.num_inputs), generator=rng()).to(torch.uint8)
        together = streams[0].apply(images, torch.stack([stream.describe(2) for stream in streams]))
        for e, stream in enumerate(streams):
            alone = stream.apply(images[e : e + 1], stream.describe(2)[None])
            assert torch.equal(together[e : e + 1], alone)
